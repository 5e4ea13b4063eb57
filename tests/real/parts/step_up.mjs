// A physician opens a page that demands a security key, and a nurse who has none. What is right or wrong is decided by the
// scenario that reads the lines.
//
// Environment: that of browser.mjs, and USERS (JSON).
import { BASE, look, newPerson, say, signIn, text, work } from './browser.mjs';

const { physician, nurse } = JSON.parse(process.env.USERS);
const PAGE = '/app/explorer.html';

await work(async () => {
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
    say('refused without the key', await text(page, 900));
    const response = await page.goto(`${BASE}/system`);
    say('the session goes on', response.status());
    await context.close();
  }
});
