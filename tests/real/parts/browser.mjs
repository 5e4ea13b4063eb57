// What every person at a browser does: headless Chromium that trusts the private CA through its own certificate store,
// the provider's pages, Opal's own login, and pictures. What was seen is printed, one JSON line each: {"step", "seen"}.
//
// Environment: BASE (the EMR's public origin), CA (PEM), SHOTS (directory for pictures), FEATURES (of Chromium, to be
// turned on; none, if left out), HOME is replaced.
import { chromium } from 'playwright-core';
import { execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const { CA, SHOTS, FEATURES } = process.env;
export const { BASE } = process.env;

export const say = (step, seen) => console.log(JSON.stringify({ step, seen }));

// The code of a step from now on, as an app whose clock runs ahead would show it.
export function totp(seed, steps = 0) {
  const bits = [...seed].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('');
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const mac = crypto.createHmac('sha1', key).update(counter).digest();
  return String((mac.readUInt32BE(mac.at(-1) & 15) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

// Chromium on Linux reads the certificate store of the home directory.
const home = fs.mkdtempSync(path.join(os.tmpdir(), 'clinician-'));
const store = `sql:${home}/.pki/nssdb`;
fs.mkdirSync(`${home}/.pki/nssdb`, { recursive: true });
execFileSync('certutil', ['-d', store, '-N', '--empty-password']);
execFileSync('certutil', ['-d', store, '-A', '-t', 'C,,', '-n', 'clinic', '-i', CA]);

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  env: { ...process.env, HOME: home },
  // Like a person's browser, it keeps whole pages for "back".
  ignoreDefaultArgs: ['--disable-back-forward-cache'],
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--host-resolver-rules=MAP *.test 127.0.0.1',
    ...(FEATURES ? [`--enable-features=${FEATURES}`] : [])],
});

let picture = 0;
export async function look(page, name) {
  picture += 1;
  await page.screenshot({ path: path.join(SHOTS, `${String(picture).padStart(2, '0')}-${name}.png`) });
}

export async function newPerson(settings = {}) {
  const context = await browser.newContext(settings);
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  return { context, page };
}

// At the provider's pages, starting from wherever the browser was sent.
export async function signIn(page, user) {
  await page.fill('input[name=username]', user.name);
  await page.fill('input[name=password]', user.password);
  await look(page, `provider-password-${user.name}`);
  await page.click('button');
  if (user.seed) {
    await page.fill('input[name=otp]', totp(user.seed));
    await look(page, `provider-code-${user.name}`);
    await page.click('button');
  }
}

// Fills in whatever the page of any provider asks for; a code that was used already is asked for again until the next one is due.
export async function fill(page, user) {
  for (const name of ['username', 'login']) {
    const field = page.locator(`input[name=${name}]:visible`).first();
    if (await field.count()) { await field.fill(user.name); }
  }
  const password = page.locator('input[name=password]:visible').first();
  if (await password.count()) { await password.fill(user.password); }
  const code = page.locator('input[name=otp]:visible').first();
  if (await code.count()) { await code.fill(totp(user.seed)); }
  await page.locator('form button[type=submit]:visible, form button:not([type]):visible, form input[type=submit]:visible').first().click();
  await page.waitForLoadState();
}

export const text = async (page, most = 600) => (await page.locator('body').innerText()).replaceAll(/\s+/g, ' ').slice(0, most);

export async function openOpal(page) {
  await page.waitForSelector('input[name=username]');
  await look(page, 'opal-login');
  say('opal asks for its own login', page.url());
  await page.fill('input[name=username]', 'dr.adams');
  await page.fill('input[name=password]', 'Legacy-pass-1');
  await page.click('button[type=submit], input[type=submit]');
  await page.waitForURL((url) => url.pathname === '/' && url.hash === '#/');
  await page.waitForLoadState('networkidle');
  await look(page, 'opal-home');
  say('opal is open', page.url());
}

// Runs what a person does; where it fails, says where they were.
export async function work(steps) {
  try {
    await steps();
    say('end', true);
  } catch (error) {
    for (const page of browser.contexts().flatMap((context) => context.pages())) {
      await look(page, 'failure').catch(() => {});
      say('failure at', { url: page.url().replace(/flow=.*/, 'flow=…'), text: await text(page).catch(() => '') });
    }
    say('failure', String(error.stack));
    process.exitCode = 1;
  } finally {
    await browser.close();
    fs.rmSync(home, { recursive: true, force: true });
  }
}
