// One browser at hosts for which several providers are: whom the gateway sends to which, by button, by e-mail address and
// by host, and where signing out leads. What is right or wrong is decided by the scenario that reads the lines.
//
// Environment: that of browser.mjs, HOSTS (JSON: the origins "staff" and "affiliates" for one provider each; BASE is for
// both), PEOPLE (JSON: "staff" and "affiliate" with name, password, seed), ADDRESS (the affiliate's e-mail address).
import { BASE, fill, look, newPerson, say, text, work } from './browser.mjs';

const hosts = JSON.parse(process.env.HOSTS);
const people = JSON.parse(process.env.PEOPLE);
const PAGE = '/system';

// The page on which people say where they have their account.
async function choice(page, name) {
  await page.goto(`${BASE}${PAGE}`);
  await look(page, name);
  say(name, {
    buttons: await page.locator('button[name=issuer]').evaluateAll((all) => all.map((one) => one.textContent)),
    first: await page.evaluate(() => document.activeElement?.textContent ?? null),
    address: await page.locator('input[type=email]').count(),
    text: await text(page),
  });
}

// At the provider's own pages, from wherever they were sent, until the gateway has them back.
async function signIn(page, name, user, origin = BASE) {
  const carried = new URL(requests.at(-1)).searchParams;
  const asked = { by: new URL(page.url()).origin, carried: [...carried.keys()], hint: carried.get('login_hint') };
  const until = Date.now() + 40_000;
  while (!page.url().startsWith(origin) && Date.now() < until) {
    await look(page, 'provider');
    await fill(page, user);
    await page.waitForTimeout(700);
  }
  await look(page, name);
  say(name, { asked, url: page.url(), text: await text(page, 200) });
}

async function signOut(page, name) {
  const visited = [];
  const note = (request) => { if (request.isNavigationRequest()) { visited.push(new URL(request.url()).origin); } };
  page.on('request', note);
  await page.goto(`${BASE}/.chartgate/logout`);
  for (let step = 0; step < 4 && !page.url().startsWith(`${BASE}/.chartgate/signed-out`); step += 1) {
    await look(page, `${name}-asked`);
    const yes = page.locator('button[name=logout][value=yes], main form button, form button').first();
    if (await yes.count() === 0) { break; }
    await Promise.all([page.waitForNavigation(), yes.click()]);
  }
  page.off('request', note);
  say(name, { visited, url: page.url() });
}

const requests = []; // authorization requests, as the browser carried them

await work(async () => {
  const { page } = await newPerson();
  page.on('request', (request) => { if (request.url().includes('client_id=')) { requests.push(request.url()); } });
  await choice(page, 'choice');
  await page.locator('button[name=issuer]', { hasText: 'Hospital' }).click();
  await page.waitForLoadState();
  await signIn(page, 'by button', people.staff);
  await signOut(page, 'staff signs out');

  await choice(page, 'choice again');
  await page.fill('input[type=email]', process.env.ADDRESS);
  await page.locator('form:has(input[type=email]) button').click();
  await page.waitForLoadState();
  await signIn(page, 'by e-mail address', people.affiliate);
  await signOut(page, 'affiliate signs out');

  await page.goto(`${hosts.staff}${PAGE}`);
  await signIn(page, 'by host of the staff', people.staff, hosts.staff);
  await page.goto(`${hosts.affiliates}${PAGE}`);
  await signIn(page, 'by host of the affiliates', people.affiliate, hosts.affiliates);
});
