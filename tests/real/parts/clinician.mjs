// A clinician at a browser (browser.mjs) who works in Opal's own pages. What is right or wrong is decided by the scenario
// that reads the lines.
//
// Environment: that of browser.mjs, and USERS (JSON).
import { BASE, look, newPerson, openOpal, say, signIn, text, work } from './browser.mjs';

const { physician, one_factor: oneFactor } = JSON.parse(process.env.USERS);
const patient = 3;

async function workInChart(page) {
  const read = page.waitForResponse((response) => response.url() === `${BASE}/api/v0.1/patient/${patient}/`);
  await page.goto(`${BASE}/#/patient/${patient}`);
  const chart = await read;
  say('chart answered', { status: chart.status(), type: chart.headers()['content-type'], cache: chart.headers()['cache-control'] });
  await page.waitForSelector('.record-panel:has-text("Diagnosis / Issues")');
  await look(page, 'opal-chart');
  say('chart shows', await text(page));

  await page.hover('.record-panel:has-text("Diagnosis / Issues")');
  await page.click('i[ng-click*="newItem(\'diagnosis\')"]');
  await page.fill('input[ng-model="editing.diagnosis.condition"]', 'Sepsis');
  await look(page, 'opal-new-diagnosis');
  const written = page.waitForResponse((response) => response.request().method() === 'POST' && response.url().startsWith(`${BASE}/api/v0.1/diagnosis/`));
  await page.locator('button:visible', { hasText: 'Save' }).click();
  say('diagnosis answered', (await written).status());
  await page.locator('.record-panel', { hasText: 'Diagnosis / Issues' }).getByText('Sepsis').waitFor();
  await look(page, 'opal-diagnosis-written');
  say('chart shows the entry', await text(page));
  const again = await page.evaluate(async (url) => (await (await fetch(url)).json()).episodes, `${BASE}/api/v0.1/patient/${patient}/`);
  say('chart keeps the entry', Object.values(again).flatMap((episode) => episode.diagnosis ?? []).map((entry) => entry.condition));
}

// What Opal's own page would not send: a number that no chart has shown, and one of another patient.
async function otherPatients(page) {
  const send = (method, path, entry) => page.evaluate(async ({ method, url, entry }) => {
    const token = document.cookie.split('; ').find((cookie) => cookie.startsWith('XSRF-TOKEN=')).split('=')[1];
    const headers = { 'content-type': 'application/json', 'x-xsrf-token': token, accept: 'application/json' };
    const response = await fetch(url, { method, headers, body: JSON.stringify(entry) });
    return { status: response.status, body: (await response.text()).slice(0, 800) };
  }, { method, url: `${BASE}${path}`, entry });
  say('guessed episode answered', await send('POST', '/api/v0.1/diagnosis/', { episode_id: 17, condition: 'Sepsis' }));
  const chart = (id) => page.evaluate(async (url) => (await fetch(url)).json(), `${BASE}/api/v0.1/patient/${id}/`);
  const [entry] = Object.values((await chart(patient)).episodes)[0].diagnosis;
  const [other] = Object.values((await chart(patient + 1)).episodes);
  const path = `/api/v0.1/diagnosis/${entry.id}/`;
  const fields = { id: entry.id, condition: entry.condition, consistency_token: entry.consistency_token };
  say('moved entry answered', await send('PUT', path, { ...fields, episode_id: other.id }));
  say('changed entry answered', await send('PUT', path, { ...fields, episode_id: entry.episode_id, details: 'improving' }));
}

// Opal's guided entry names the patient in its address.
async function guidedEntry(page) {
  const answer = await page.evaluate(async ({ url, entry }) => {
    const token = document.cookie.split('; ').find((cookie) => cookie.startsWith('XSRF-TOKEN=')).split('=')[1];
    const headers = { 'content-type': 'application/json', 'x-xsrf-token': token };
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(entry) });
    return { status: response.status, body: (await response.text()).slice(0, 400) };
  }, { url: `${BASE}/pathway/detail/add_patient/${patient}/${patient}`, entry: { allergies: [{ drug: 'Penicillin', details: 'rash' }] } });
  say('guided entry answered', answer);
  await page.goto(`${BASE}/#/`);
  await page.goto(`${BASE}/#/patient/${patient}`);
  await page.locator('.record-panel', { hasText: 'Allergies' }).getByText('Penicillin').waitFor();
  await look(page, 'opal-allergy-written');
}

// A list of Opal's own, and a search: both name patients whose charts nobody opens.
async function lists(page) {
  const answered = page.waitForResponse((response) => response.url().startsWith(`${BASE}/api/v0.1/patientlist/`));
  await page.goto(`${BASE}/#/list/`);
  const list = await answered;
  const rows = await list.json();
  await page.waitForLoadState('networkidle');
  await look(page, 'opal-list');
  say('list answered', { path: new URL(list.url()).pathname, patients: rows.map((row) => String(row.demographics[0].patient_id)) });
  const found = await page.evaluate(async (url) => (await fetch(url)).json(), `${BASE}/search/simple/?query=MRN00000`);
  say('search answered', found.object_list.map((row) => String(row.patient_id)));
}

async function refusals(page) {
  // From Opal's own page: the gateway's pages may not fetch anything.
  const api = await page.evaluate(async (url) => {
    const answer = await fetch(url, { headers: { accept: 'application/json' } });
    return { status: answer.status, type: answer.headers.get('content-type'), body: (await answer.text()).slice(0, 800) };
  }, `${BASE}/admin/auth/user/`);
  say('administration by fetch', api);
  const admin = await page.goto(`${BASE}/admin/`);
  await look(page, 'administration-refused');
  say('administration page', { status: admin.status(), text: await text(page), html: await page.locator('html').getAttribute('lang') });
}

async function signOut(context, page) {
  await page.goto(`${BASE}/#/`);
  await page.waitForLoadState('networkidle');
  const emr = (await context.cookies(BASE)).find((cookie) => cookie.name === 'sessionid');
  say('cookies', (await context.cookies(BASE)).map(({ name, secure, httpOnly, sameSite, path: scope }) => ({ name, secure, httpOnly, sameSite, path: scope })));
  await page.goto(`${BASE}/.chartgate/logout`);
  await look(page, 'sign-out-asked');
  for (let step = 0; step < 4 && !page.url().startsWith(`${BASE}/.chartgate/signed-out`); step += 1) {
    const yes = page.locator('button[name=logout][value=yes], main form button, form button').first();
    if (await yes.count() === 0) break;
    await Promise.all([page.waitForNavigation(), yes.click()]);
    await look(page, `sign-out-${step}`);
  }
  say('signed out at', { url: page.url(), text: await text(page) });
  say('cookies after', (await context.cookies(BASE)).map(({ name }) => name));
  say('emr session', emr?.value ?? null);
  await page.goto(`${BASE}/`);
  await page.waitForLoadState('networkidle');
  await look(page, 'after-sign-out');
  say('after sign-out', { url: page.url(), text: await text(page) });
}

await work(async () => {
  const { context, page } = await newPerson();
  const wanted = `${BASE}/?from=ward%20list&tab=2`;
  await page.goto(wanted);
  say('sent to the provider', page.url());
  await signIn(page, physician);
  await page.waitForURL((url) => url.origin === BASE && !url.pathname.startsWith('/.chartgate'));
  say('landed', { url: page.url(), security: await page.evaluate(() => isSecureContext) });
  await openOpal(page);
  await workInChart(page);
  await otherPatients(page);
  await guidedEntry(page);
  await lists(page);
  await refusals(page);
  await signOut(context, page);
  await context.close();

  const other = await newPerson();
  await other.page.goto(`${BASE}/`);
  await signIn(other.page, oneFactor);
  await other.page.waitForURL((url) => url.origin === BASE);
  await look(other.page, 'one-factor-refused');
  say('one factor', { url: other.page.url(), text: await text(other.page) });
  const later = await other.page.goto(`${BASE}/api/v0.1/patient/${patient}/`);
  await look(other.page, 'one-factor-later');
  say('one factor later', { status: later.status(), url: other.page.url() });
  await other.context.close();
});
