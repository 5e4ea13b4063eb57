// Two people at one workstation, one after the other, and the "back" button between them. What is right or wrong is
// decided by the scenario that reads the lines.
import { BASE, look, page, pause, people, say, signIn, signInToEmr, visible, work } from './clinic.mjs';

// Every page that "back" shows, to the beginning of what the browser remembers.
async function backwards(page) {
  const seen = [];
  for (let turn = 0; turn < 12; turn += 1) {
    const before = page.url();
    await page.goBack({ timeout: 10_000 }).catch(() => {});
    await page.waitForLoadState().catch(() => {});
    await pause(200);
    seen.push({ url: page.url(), title: await page.title(), text: await visible(page) });
    if (page.url() === before && turn > 3) { break; }
  }
  return seen;
}

await work(async () => {
  const doctor = people['dr.okafor'];
  const nurse = people['nurse.lind'];
  await page.goto(`${BASE}/.chartgate/training`);
  await signIn(page, doctor);
  await signInToEmr(page, doctor);
  await page.goto(`${BASE}/patients/select?set_pid=4`);
  await page.goto(`${BASE}/chart`);
  const name = await page.locator('.banner strong').innerText();
  say('patient', name);
  await page.goto(`${BASE}/chart/notes`);
  say('works', { url: page.url(), text: await visible(page) });

  await page.goto(`${BASE}/.chartgate/logout`);
  await page.waitForURL('**/.chartgate/signed-out*');
  await look(page, 'signed-out');
  say('signed out', { url: page.url(), text: await visible(page) });
  say('back after signing out', await backwards(page));

  await page.goto(`${BASE}/`);
  await signIn(page, nurse);
  say('the next one arrives', { url: page.url(), text: await visible(page) });
  await signInToEmr(page, nurse);
  await page.goto(`${BASE}/chart`);
  say('the next one looks for a chart', { url: page.url(), text: await visible(page) });
  await page.goto(`${BASE}/patients/select?set_pid=1`);
  await page.goto(`${BASE}/chart`);
  const own = await page.locator('.banner strong').innerText();
  say('own patient', own);

  await page.goto(`${BASE}/.chartgate/switch`);
  await page.waitForLoadState();
  await signIn(page, doctor);
  await look(page, 'switched');
  say('after switching', { url: page.url(), text: await visible(page) });
  say('back after switching', await backwards(page));
});
