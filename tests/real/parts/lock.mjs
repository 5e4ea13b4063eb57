// Two people at one workstation: headless Chromium at the sample clinic, whose screens lock after a few seconds. It
// prints one JSON line for each thing it saw: {"step", "seen"}. What is right or wrong is decided by the scenario that
// reads the lines.
//
// Environment: BASE (the gateway's origin), CA (PEM), SHOTS (directory for pictures), USERS (JSON), EMR_PASSWORD, AFTER
// (seconds until a screen locks), HOME is replaced.
import { chromium } from 'playwright-core';
import { execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const { BASE, CA, SHOTS, EMR_PASSWORD } = process.env;
const after = Number(process.env.AFTER) * 1000;
const people = Object.fromEntries(JSON.parse(process.env.USERS).map((user) => [user.name, user]));
const say = (step, seen) => console.log(JSON.stringify({ step, seen }));
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

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
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});
const context = await browser.newContext();

let picture = 0;
async function look(page, name) {
  picture += 1;
  await page.screenshot({ path: path.join(SHOTS, `lock-${String(picture).padStart(2, '0')}-${name}.png`) });
}

// From wherever a page was sent to sign in: the notice, the provider's password, its code.
async function signIn(page, user) {
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

async function signInToEmr(page, user) {
  await page.goto(`${BASE}/login`);
  await page.fill('input[name=username]', user.name);
  await page.fill('input[name=password]', EMR_PASSWORD);
  await page.click('button');
  await page.waitForLoadState();
}

const lock = '#chartgate-lock';
const visible = (page) => page.evaluate(() => document.body.innerText.replaceAll(/\s+/g, ' '));
const locked = (page) => page.waitForSelector(lock, { state: 'visible', timeout: after * 3 + 15_000 });
const open = (page) => page.waitForSelector(lock, { state: 'detached', timeout: 30_000 });

async function unlock(page, user) {
  const [popup] = await Promise.all([context.waitForEvent('page'), page.click('#chartgate-unlock')]);
  popup.setDefaultTimeout(30_000);
  // The window closes itself once it has done its work.
  await signIn(popup, user).catch((failure) => { if (!popup.isClosed()) { throw failure; } });
  return popup;
}

try {
  const doctor = people['dr.okafor'];
  const nurse = people['nurse.lind'];
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  await page.goto(`${BASE}/.chartgate/training`);
  await signIn(page, doctor);
  await signInToEmr(page, doctor);
  await page.goto(`${BASE}/patients/select?set_pid=4`);
  await page.goto(`${BASE}/chart/notes`);
  const name = await page.locator('.banner strong').innerText();
  say('patient', name);

  await page.fill('#field-text', 'First half,');
  await look(page, 'typing');
  await locked(page);
  await look(page, 'locked');
  say('locked', { title: await page.title(), text: await visible(page), url: page.url() });
  await page.keyboard.press('Escape');
  await page.keyboard.type('scribble');
  await pause(1200);
  say('escaped', { text: await visible(page), value: await page.inputValue('#field-text') });
  say('asked while locked', await page.evaluate(async () => {
    const answer = await fetch('/api/poll?wait=0');
    return { status: answer.status, marker: answer.headers.get('chartgate-session') };
  }));

  const popup = await unlock(page, doctor);
  await open(page);
  await look(page, 'unlocked');
  say('unlocked', { value: await page.inputValue('#field-text'), title: await page.title(), popup: popup.isClosed() ? 'closed' : popup.url() });
  if (!popup.isClosed()) { await popup.close(); }
  await page.locator('#field-text').press('End');
  // Somebody who types without asking for anything is at work.
  for (const letter of ' second half.'.split('')) {
    await page.keyboard.type(letter);
    await pause(after / 8);
  }
  say('typed on', { covered: await page.locator(lock).count(), value: await page.inputValue('#field-text') });
  await page.click('form.entry button');
  await page.waitForLoadState();
  say('saved', { url: page.url(), text: await visible(page) });

  // A form that is sent all the same, as a page without the script would.
  await page.fill('#field-text', 'A note that came too late.');
  await locked(page);
  await page.evaluate(() => document.querySelector('form.entry').submit());
  await page.waitForSelector('text=CG-2024');
  await look(page, 'kept');
  say('kept', { text: await visible(page) });
  await page.click('a.button:text-is("Unlock")');
  await signIn(page, doctor);
  await page.waitForSelector('button:text-is("Send now")');
  await look(page, 'offered');
  say('offered', { text: await visible(page), value: await page.inputValue('textarea') });
  await page.click('button:text-is("Send now")');
  await page.waitForLoadState();
  say('sent', { url: page.url(), text: await visible(page) });

  // Somebody else takes the seat, while a chart is still open in another tab.
  const left = await context.newPage();
  await left.goto(`${BASE}/chart`);
  await page.evaluate(() => fetch('/.chartgate/lock', { method: 'POST' }));
  await left.evaluate(() => window.dispatchEvent(new Event('focus')));
  await locked(left);
  say('left locked', { text: await visible(left) });
  await page.goto(`${BASE}/chart`);
  await page.click('a.button:text-is("Unlock")');
  await signIn(page, nurse);
  await pause(500);
  await signIn(page, nurse);
  await page.waitForLoadState();
  await look(page, 'nurse');
  const cookies = (await context.cookies(BASE)).map((cookie) => cookie.name);
  say('nurse', { url: page.url(), text: await visible(page), cookies });
  await left.evaluate(() => window.dispatchEvent(new Event('focus'))).catch(() => {});
  await left.waitForURL((url) => !url.pathname.startsWith('/chart'), { timeout: 30_000 });
  await left.waitForLoadState();
  say('left after', { url: left.url(), text: await visible(left) });
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
