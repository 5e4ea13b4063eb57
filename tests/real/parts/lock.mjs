// Two people at one workstation of the sample clinic, whose screens lock after a few seconds. What is right or wrong is
// decided by the scenario that reads the lines.
//
// Environment: that of clinic.mjs, AFTER (seconds until a screen locks).
import { BASE, context, look, page, pause, people, say, signIn, signInToEmr, visible, work } from './clinic.mjs';

const after = Number(process.env.AFTER) * 1000;
const lock = '#chartgate-lock';
const locked = (page) => page.waitForSelector(lock, { state: 'visible', timeout: after * 3 + 15_000 });
const open = (page) => page.waitForSelector(lock, { state: 'detached', timeout: 30_000 });

async function unlock(page, user) {
  const [popup] = await Promise.all([context.waitForEvent('page'), page.click('#chartgate-unlock')]);
  popup.setDefaultTimeout(30_000);
  // The window closes itself once it has done its work.
  await signIn(popup, user).catch((failure) => { if (!popup.isClosed()) { throw failure; } });
  return popup;
}

await work(async () => {
  const doctor = people['dr.okafor'];
  const nurse = people['nurse.lind'];
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
});
