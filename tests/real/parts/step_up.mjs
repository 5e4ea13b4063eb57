// A physician at a browser: headless Chromium that trusts the private CA. Opens a page that demands a security key, and
// prints one JSON line for each thing it saw: {"step", "seen"}. What is right or wrong is decided by the scenario.
//
// Environment: BASE (the gateway's origin), CA (PEM), SHOTS (directory for pictures), USERS (JSON).
import { chromium } from 'playwright-core';
import { execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const { BASE, CA, SHOTS } = process.env;
const { physician, nurse } = JSON.parse(process.env.USERS);
const PAGE = '/app/explorer.html';

const say = (step, seen) => console.log(JSON.stringify({ step, seen }));

function totp(seed) {
  const bits = [...seed].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('');
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000)));
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const mac = crypto.createHmac('sha1', key).update(counter).digest();
  return String((mac.readUInt32BE(mac.at(-1) & 15) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

const home = fs.mkdtempSync(path.join(os.tmpdir(), 'step-up-'));
const store = `sql:${home}/.pki/nssdb`;
fs.mkdirSync(`${home}/.pki/nssdb`, { recursive: true });
execFileSync('certutil', ['-d', store, '-N', '--empty-password']);
execFileSync('certutil', ['-d', store, '-A', '-t', 'C,,', '-n', 'clinic', '-i', CA]);

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  env: { ...process.env, HOME: home },
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--host-resolver-rules=MAP *.test 127.0.0.1'],
});

const text = async (page) => (await page.locator('body').innerText()).replaceAll(/\s+/g, ' ').slice(0, 900);
const look = (page, name) => page.screenshot({ path: path.join(SHOTS, `step-up-${name}.png`) });

async function newPerson() {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  return { context, page };
}

async function signIn(page, user) {
  await page.fill('input[name=username]', user.name);
  await page.fill('input[name=password]', user.password);
  await page.click('button');
  await page.fill('input[name=otp]', totp(user.seed));
  await page.click('button');
}

// Somebody with a key: signs in, is asked for the key at the page that demands it, and arrives there.
{
  const { context, page } = await newPerson();
  await page.goto(`${BASE}/system`);
  await signIn(page, physician);
  await page.waitForURL(`${BASE}/system`);
  say('signed in without the key', page.url());
  const script = await page.evaluate(async (url) => {
    const answer = await fetch(url);
    return { status: answer.status, challenge: answer.headers.get('www-authenticate'), problem: await answer.json() };
  }, `${BASE}${PAGE}`);
  say('a script is told', script);
  const asked = page.waitForRequest((request) => request.url().includes('/auth?'));
  await page.goto(`${BASE}${PAGE}`);
  say('the provider is asked', (await asked).url());
  await signIn(page, physician);
  await page.getByText('Touch your security key').waitFor();
  await look(page, 'key');
  await page.click('button');
  await page.waitForURL((url) => url.origin === BASE && url.pathname === PAGE);
  await look(page, 'arrived');
  say('arrived with the key', page.url());
  const cookies = (await context.cookies(BASE)).filter((cookie) => cookie.name.startsWith('__Host-'));
  say('cookies', cookies.map(({ name, value }) => ({ name, size: name.length + value.length })));
  await context.close();
}

// Somebody without one: asked once, told once.
{
  const { context, page } = await newPerson();
  await page.goto(`${BASE}/system`);
  await signIn(page, nurse);
  await page.waitForURL(`${BASE}/system`);
  await page.goto(`${BASE}${PAGE}`);
  await signIn(page, nurse);
  await page.getByText('CG-2020').waitFor();
  await look(page, 'refused');
  say('refused without the key', await text(page));
  const response = await page.goto(`${BASE}/system`);
  say('the session goes on', response.status());
  await context.close();
}

await browser.close();
say('done', true);
