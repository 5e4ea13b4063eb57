// Somebody signs in at whatever provider the gateway sends them to, and works. What is right or wrong is decided by the
// scenario that reads the lines.
//
// Environment: that of browser.mjs, USER (JSON: name, password, seed), PAGE (a path of the EMR).
import { BASE, fill, look, newPerson, say, text, work } from './browser.mjs';

const user = JSON.parse(process.env.USER);

await work(async () => {
  const { context, page } = await newPerson();
  await page.goto(`${BASE}${process.env.PAGE}`);
  say('asked by', new URL(page.url()).origin);
  say('address', await page.evaluate(() => performance.getEntriesByType('navigation')[0].name));
  const until = Date.now() + 75_000;
  while (!page.url().startsWith(BASE) && Date.now() < until) {
    await look(page, 'provider');
    await fill(page, user);
    await page.waitForTimeout(1500);
  }
  await look(page, 'arrived');
  say('arrived', { url: page.url(), text: await text(page) });
  const cookies = (await context.cookies(BASE)).filter((cookie) => cookie.name.startsWith('__Host-chartgate'));
  say('cookies', cookies.map(({ name, value, httpOnly, secure, sameSite }) => ({ size: name.length + value.length, httpOnly, secure, sameSite })));
});
