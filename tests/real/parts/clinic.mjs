// People at one workstation of the sample clinic: the notice, the provider's pages and the EMR's own login.
//
// Environment: that of browser.mjs, USERS (JSON: the clinic's), EMR_PASSWORD.
import { BASE, newPerson, text, totp } from './browser.mjs';

export { BASE, look, say, work } from './browser.mjs';

const { EMR_PASSWORD } = process.env;
export const people = Object.fromEntries(JSON.parse(process.env.USERS).map((user) => [user.name, user]));
export const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
export const { context, page } = await newPerson();
export const visible = (page) => text(page, Infinity);

// A one-time code is good once.
const used = {};
async function code(user) {
  let step = Math.floor(Date.now() / 30_000);
  while (used[user.name] === step) {
    await pause(500);
    step = Math.floor(Date.now() / 30_000);
  }
  used[user.name] = step;
  return totp(user.totp_secret.replaceAll('=', ''));
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
