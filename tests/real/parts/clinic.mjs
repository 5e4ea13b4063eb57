// People at one workstation of the sample clinic: headless Chromium that trusts its CA, the notice, the provider's pages
// and the EMR's own login. What was seen is printed, one JSON line each: {"step", "seen"}.
//
// Environment: BASE (the gateway's origin), CA (PEM), SHOTS (directory for pictures), USERS (JSON), EMR_PASSWORD, HOME is
// replaced.
import { chromium } from 'playwright-core';
import { execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const { CA, SHOTS, EMR_PASSWORD } = process.env;
export const { BASE } = process.env;
export const people = Object.fromEntries(JSON.parse(process.env.USERS).map((user) => [user.name, user]));
export const say = (step, seen) => console.log(JSON.stringify({ step, seen }));
export const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

function totp(seed, step) {
  const bits = [...seed.replaceAll('=', '')].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('');
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const mac = crypto.createHmac('sha1', key).update(counter).digest();
  return String((mac.readUInt32BE(mac.at(-1) & 15) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

// A one-time code is good once.
const used = {};
async function code(user) {
  let step = Math.floor(Date.now() / 30_000);
  while (used[user.name] === step) {
    await pause(500);
    step = Math.floor(Date.now() / 30_000);
  }
  used[user.name] = step;
  return totp(user.totp_secret, step);
}

const home = fs.mkdtempSync(path.join(os.tmpdir(), 'workstation-'));
const store = `sql:${home}/.pki/nssdb`;
fs.mkdirSync(`${home}/.pki/nssdb`, { recursive: true });
execFileSync('certutil', ['-d', store, '-N', '--empty-password']);
execFileSync('certutil', ['-d', store, '-A', '-t', 'C,,', '-n', 'clinic', '-i', CA]);
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  env: { ...process.env, HOME: home },
  // Pages that are kept whole for "back" are what a workstation's next user must not see.
  ignoreDefaultArgs: ['--disable-back-forward-cache'],
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});
export const context = await browser.newContext();

const scenario = path.basename(process.argv[1], '.mjs');
let picture = 0;
export async function look(page, name) {
  picture += 1;
  await page.screenshot({ path: path.join(SHOTS, `${scenario}-${String(picture).padStart(2, '0')}-${name}.png`) });
}

// From wherever a page was sent to sign in: the notice, the provider's password, its code.
export async function signIn(page, user) {
  for (let turn = 0; turn < 6; turn += 1) {
    await page.waitForLoadState();
    if (await page.locator('input[name=password]').count() && page.url().startsWith('http://')) {
      if (await page.locator('input[name=username]').count()) { await page.fill('input[name=username]', user.name); }
      await page.fill('input[name=password]', user.password);
      await page.click('button');
    } else if (await page.locator('input[name=code]').count()) {
      await page.fill('input[name=code]', await code(user));
      await page.click('button');
    } else if (page.url().includes('/.chartgate/login')) {
      await page.click('button');
    } else {
      return;
    }
    await pause(300);
  }
}

export async function signInToEmr(page, user) {
  await page.goto(`${BASE}/login`);
  await page.fill('input[name=username]', user.name);
  await page.fill('input[name=password]', EMR_PASSWORD);
  await page.click('button');
  await page.waitForLoadState();
}

export const visible = (page) => page.evaluate(() => document.body.innerText.replaceAll(/\s+/g, ' '));

// Lives a scenario; what breaks it is told, with a picture of each page.
export async function live(scenario) {
  try {
    await scenario();
    say('end', true);
  } catch (failure) {
    say('failure', String(failure).slice(0, 1200));
    for (const [at, page] of context.pages().entries()) {
      say(`failure at ${at}`, page.url());
      await look(page, `failure-${at}`).catch(() => {});
    }
  } finally {
    await browser.close();
    fs.rmSync(home, { recursive: true, force: true });
  }
}
