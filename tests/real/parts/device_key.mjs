// A person at work in a browser that knows Device Bound Session Credentials, and somebody elsewhere with a copy of its
// cookies. What is right or wrong is decided by the scenario that reads the lines.
//
// Environment: that of clinic.mjs, LIFETIME (seconds that a proof of the device is good for).
import fs from 'node:fs';
import https from 'node:https';
import { BASE, context, look, page, pause, people, say, signIn, signInToEmr, visible, work } from './clinic.mjs';

const lifetime = Number(process.env.LIFETIME) * 1000;
const ca = fs.readFileSync(process.env.CA);
const PROOF = '__Host-chartgate-device';

const jar = async () => (await context.cookies(BASE)).map(({ name, value }) => ({ name, value }));
const proof = async () => (await jar()).find(({ name }) => name === PROOF)?.value;

async function registered(before) {
  for (let turn = 0; turn < 100; turn += 1) {
    const value = await proof();
    if (value && value !== before) { return value; }
    await pause(100);
  }
  return undefined;
}

// What a client without the key gets with these cookies.
const elsewhere = (cookies, path) => new Promise((done, fail) => {
  const headers = { cookie: cookies.map(({ name, value }) => `${name}=${value}`).join('; ') };
  https.get(`${BASE}${path}`, { ca, headers, agent: false }, (answer) => {
    answer.resume();
    answer.on('end', () => done({ status: answer.statusCode, refusal: answer.headers['x-chartgate-refusal'] }));
  }).on('error', fail);
});

await work(async () => {
  const doctor = people['dr.okafor'];
  await page.goto(`${BASE}/.chartgate/training`);
  await signIn(page, doctor);
  const first = await registered();
  const cookies = await context.cookies(BASE);
  say('cookies', cookies.map(({ name, value, httpOnly, secure, sameSite }) => ({ name, size: value.length, httpOnly, secure, sameSite })));
  await signInToEmr(page, doctor);
  await page.goto(`${BASE}/patients/select?set_pid=4`);
  await page.goto(`${BASE}/chart`);
  say('works', { url: page.url(), text: await visible(page) });

  // Past the time in which the page's own requests may come without a proof.
  await pause(11_000);
  const copied = await jar();
  say('a copy with the proof', await elsewhere(copied, '/chart'));
  say('a copy without it', await elsewhere(copied.filter(({ name }) => name !== PROOF), '/chart'));

  // Nobody does anything until the proof is over, here and where it was copied to.
  await page.goto('about:blank');
  await pause(lifetime + 31_000);
  say('gone', (await proof()) === undefined);
  say('a copy that is too old', await elsewhere(copied, '/chart'));
  await page.goto(`${BASE}/chart`);
  await look(page, 'still-at-work');
  say('still at work', { url: page.url(), text: await visible(page), renewed: (await proof()) !== first });
  // A script of a page, and one that is asked at the same moment as others.
  const asked = await page.evaluate(async () => Promise.all(['/chart', '/chart/notes', '/chart'].map(async (path) => (await fetch(path)).status)));
  say('scripts', asked);

  // A fresh sign-in of the same session, by the provider: the way back comes from another site.
  await page.goto('about:blank');
  await pause(lifetime + 1_000);
  await page.goto(`${BASE}/.chartgate/login?step_up=1&return_to=/chart`);
  await signIn(page, doctor);
  say('confirmed', { url: page.url(), text: await visible(page) });
  await pause(11_000);
  await page.goto(`${BASE}/chart`);
  say('after confirming', { url: page.url(), text: await visible(page) });

  // The browser loses the cookies of the device: it makes others.
  await context.clearCookies({ name: PROOF });
  await page.goto(`${BASE}/chart/notes`);
  say('without the cookie', { url: page.url(), renewed: Boolean(await proof()) });

  await page.goto(`${BASE}/.chartgate/logout`);
  await page.waitForURL('**/.chartgate/signed-out*');
  say('signed out', page.url());
  const last = await proof();
  await page.goto(`${BASE}/.chartgate/training`);
  await signIn(page, people['nurse.lind']);
  say('the next one', { url: page.url(), registered: Boolean(await registered(last)) });
});
