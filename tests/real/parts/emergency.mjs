// A physician in an emergency: the chart is closed, the glass is broken, the chart is read; later the course about it.
//
// Environment: that of browser.mjs, USERS and ANSWERS (JSON), PATIENT, and OTHER, a chart for which nothing was broken.
import { BASE, look, newPerson, openOpal, say, signIn, text, work } from './browser.mjs';

const { physician } = JSON.parse(process.env.USERS);
// The answers to the course's questions in their order, one right and one wrong each.
const answers = JSON.parse(process.env.ANSWERS);
const { PATIENT: patient, OTHER: other } = process.env;
const chart = (id) => `${BASE}/api/v0.1/patient/${id}/`;

const fetched = (page, method, url, entry) => page.evaluate(async ({ method, url, entry }) => {
  const token = document.cookie.split('; ').find((cookie) => cookie.startsWith('XSRF-TOKEN=')).split('=')[1];
  const headers = { 'content-type': 'application/json', 'x-xsrf-token': token, accept: 'application/json' };
  const answer = await fetch(url, { method, headers, body: entry && JSON.stringify(entry) });
  return { status: answer.status, body: await answer.text() };
}, { method, url, entry });

async function closed(page) {
  const answer = await page.goto(chart(patient));
  await look(page, 'chart-closed');
  say('chart closed', { status: answer.status(), text: await text(page) });
}

async function breakTheGlass(page) {
  await page.getByRole('link', { name: 'Break the glass' }).click();
  await page.waitForURL((url) => url.pathname === '/.chartgate/break-glass');
  await look(page, 'break-glass-form');
  say('form', await text(page));
  // The form itself holds back what is not filled in.
  await page.getByRole('button', { name: 'Break the glass' }).click();
  say('form without a reason', { path: new URL(page.url()).pathname, invalid: await page.locator(':invalid').count() > 0 });
  await page.getByLabel('Emergency treatment').check();
  await page.fill('textarea[name=text]', 'Found unresponsive on ward 4; need medication and allergies.');
  await look(page, 'break-glass-filled');
  const opened = page.waitForResponse((response) => response.url() === chart(patient));
  await page.getByRole('button', { name: 'Break the glass' }).click();
  const answer = await opened;
  await page.waitForLoadState();
  await look(page, 'chart-open');
  say('chart open', { status: answer.status(), url: page.url(), text: await text(page) });
}

async function reads(page) {
  await page.goto(`${BASE}/`);
  await page.waitForLoadState('networkidle');
  const read = await fetched(page, 'GET', chart(patient));
  const episode = Object.values(JSON.parse(read.body).episodes)[0].id;
  say('read by the page', read.status);
  const write = await fetched(page, 'POST', `${BASE}/api/v0.1/diagnosis/`, { episode_id: episode, condition: 'Sepsis' });
  say('write', { status: write.status, body: write.body.slice(0, 800) });
  await page.goto(`${BASE}/#/patient/${patient}`);
  await page.waitForSelector('.record-panel:has-text("Diagnosis / Issues")');
  await look(page, 'opal-chart-open');
  say('opal shows', await text(page));
  const fragment = await page.goto(`${BASE}/templates/episode_detail.html/${episode}`);
  await look(page, 'banner');
  const banner = page.locator('[role=status] [data-chartgate="break-glass"]');
  say('page of the chart', { status: fragment.status(), banner: await banner.count() === 1 ? await banner.innerText() : null });
  const closedStill = await page.goto(chart(other));
  say('another closed chart', closedStill.status());
}

async function course(page) {
  await page.goto(`${BASE}/.chartgate/training`);
  await look(page, 'courses');
  say('courses', await text(page));
  await page.getByRole('link', { name: /Breaking the glass/ }).click();
  await page.waitForSelector('fieldset');
  await look(page, 'course');
  const sets = page.locator('fieldset');
  const fill = async (pick) => {
    for (let index = 0; index < await sets.count(); index += 1) await pick(sets.nth(index), index).check();
    await page.getByRole('button', { name: /these are my answers/ }).click();
    await page.waitForLoadState();
  };
  await fill((set, index) => set.getByLabel(answers[index].wrong, { exact: true }));
  await look(page, 'course-failed');
  say('wrong answers', { status: await page.title(), text: await page.locator('main, body').first().innerText() });
  await fill((set, index) => set.getByLabel(answers[index].right, { exact: true }));
  await look(page, 'course-passed');
  say('right answers', await text(page));
}

await work(async () => {
  const { context, page } = await newPerson();
  await page.goto(`${BASE}/`);
  await signIn(page, physician);
  await page.waitForURL((url) => url.origin === BASE && !url.pathname.startsWith('/.chartgate'));
  await openOpal(page);
  await closed(page);
  await breakTheGlass(page);
  await reads(page);
  await course(page);
  await context.close();
});
