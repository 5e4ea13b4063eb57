// Somebody whose provider asks for a password only, at a browser: headless Chromium with a virtual authenticator (CDP,
// WebAuthn domain) that trusts the private CA through its own certificate store. Prints one JSON line for each thing it
// saw: {"step", "seen"}. What is right or wrong is decided by the scenario that reads the lines.
//
// Environment: BASE (the EMR's public origin), CA (PEM), SHOTS (directory for pictures), USERS (JSON), INVITATION (the
// enrolment code; without it the browser only looks at what it is asked for), HOME is replaced.
import { BASE, look, newPerson as anyPerson, say, text, totp, work } from './browser.mjs';

const { INVITATION } = process.env;
const user = JSON.parse(process.env.USERS).one_factor;
// A page of the gateway's own: it names who is signed in.
const wanted = `${BASE}/.chartgate/report`;
const manage = `${BASE}/.chartgate/second-factor/manage`;

// A browser profile of its own; what its console complains of is said.
async function newPerson(scripts = true) {
  const { context, page } = await anyPerson({ javaScriptEnabled: scripts });
  page.on('console', (message) => { if (message.type() === 'error') say('console', message.text()); });
  return { context, page };
}

async function authenticator(context, page, credentials = []) {
  const cdp = await context.newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  });
  for (const credential of credentials) await cdp.send('WebAuthn.addCredential', { authenticatorId, credential });
  const stored = async () => (await cdp.send('WebAuthn.getCredentials', { authenticatorId })).credentials;
  return { cdp, authenticatorId, stored };
}

// At the provider's page, from wherever the browser was sent; ends at the gateway's page.
async function password(page, name) {
  await page.goto(wanted);
  await page.fill('input[name=username]', user.name);
  await page.fill('input[name=password]', user.password);
  await page.click('button');
  await page.waitForURL((url) => url.origin === BASE);
  await look(page, name);
}

const send = async (page, button) => { await Promise.all([page.waitForNavigation(), page.getByRole('button', { name: button }).click()]); };

async function where(page) {
  return { path: new URL(page.url()).pathname, text: await text(page, 900) };
}

async function invited(page) {
  await page.fill('#code', INVITATION);
  await send(page, 'Continue');
  await look(page, 'enrol');
  say('the code opens enrolment', await where(page));
  await page.fill('#passkey-name', 'Ward key');
  await Promise.all([page.waitForSelector('#recovery-codes'), page.getByRole('button', { name: 'Create a passkey' }).click()]);
  await look(page, 'recovery-codes');
  const codes = await page.locator('#recovery-codes code').allInnerTexts();
  say('recovery codes', codes.length);
  await Promise.all([page.waitForURL(wanted), page.click('#continue')]);
  say('signed in by enrolling', await where(page));
  return codes;
}

async function withPasskey(credentials) {
  const { context, page } = await newPerson();
  const { stored } = await authenticator(context, page, credentials);
  await password(page, 'verify');
  say('asked for the passkey', await where(page));
  await Promise.all([page.waitForURL(wanted), page.getByRole('button', { name: 'Use a passkey' }).click()]);
  say('signed in with the passkey', await where(page));
  return { context, page, credentials: await stored() };
}

async function addApp(page) {
  await page.goto(manage);
  await look(page, 'manage-asks');
  say('the list asks for a fresh factor', await where(page));
  await Promise.all([page.waitForSelector('#authenticators'), page.getByRole('button', { name: 'Use a passkey' }).click()]);
  await look(page, 'manage');
  await Promise.all([page.waitForNavigation(), page.click('#add')]);
  const key = (await page.locator('#totp-key').innerText()).replaceAll(' ', '');
  await page.locator('svg').scrollIntoViewIfNeeded();
  say('the picture has a size', await page.locator('svg').boundingBox().then((box) => box.width > 150 && box.height > 150));
  await page.fill('#totp-name', 'Phone');
  await page.fill('#code', totp(key, -1));
  await look(page, 'add-app');
  await Promise.all([page.waitForSelector('#authenticators'), page.getByRole('button', { name: 'Add the app' }).click()]);
  await look(page, 'manage-two');
  say('the list has both', await text(page, 900));
  return key;
}

// Without JavaScript: an app's code and a recovery code do not need it.
async function withoutScripts(key, codes) {
  const { context, page } = await newPerson(false);
  await password(page, 'without-scripts');
  await page.fill('#code', '000000');
  await send(page, 'Confirm');
  await look(page, 'wrong-code');
  say('a wrong code', await where(page));
  const code = totp(key, 0);
  await page.fill('#code', code);
  await Promise.all([page.waitForURL(wanted), page.getByRole('button', { name: 'Confirm' }).first().click()]);
  say('signed in with the app', await where(page));
  await context.close();
  const replayed = await newPerson(false);
  await password(replayed.page, 'replay');
  await replayed.page.fill('#code', code);
  await Promise.all([replayed.page.waitForNavigation(), replayed.page.getByRole('button', { name: 'Confirm' }).first().click()]);
  say('the same code again', await where(replayed.page));
  await replayed.page.click('summary');
  await replayed.page.fill('#recovery', codes[0].toLowerCase());
  await Promise.all([replayed.page.waitForURL(wanted), replayed.page.getByRole('button', { name: 'Confirm' }).last().click()]);
  say('signed in with a recovery code', await where(replayed.page));
  await replayed.context.close();
}

// An authenticator that was copied before: its count lies behind.
async function withCopy(credentials) {
  const { context, page } = await newPerson();
  await authenticator(context, page, credentials.map((credential) => ({ ...credential, signCount: 0 })));
  await password(page, 'copy');
  await Promise.all([page.waitForNavigation(), page.getByRole('button', { name: 'Use a passkey' }).click()]);
  await look(page, 'copy-refused');
  say('a copy of the passkey', await where(page));
  await context.close();
}

await work(async () => {
  if (INVITATION) {
    const first = await newPerson();
    const { stored } = await authenticator(first.context, first.page);
    await password(first.page, 'invitation');
    say('asked for the enrolment code', await where(first.page));
    await first.page.fill('#code', 'AAAA-BBBB-CCCC-DDDD');
    await send(first.page, 'Continue');
    say('another code', await where(first.page));
    const codes = await invited(first.page);
    const enrolled = await stored();
    say('the authenticator keeps', enrolled.map(({ rpId, userHandle, signCount }) => ({ rpId, handle: Buffer.from(userHandle ?? '', 'base64').length, signCount })));
    await first.context.close();
    const second = await withPasskey(enrolled);
    const key = await addApp(second.page);
    await second.context.close();
    await withoutScripts(key, codes);
    await withCopy(second.credentials);
  } else {
    const { context, page } = await newPerson();
    await password(page, 'after-reset');
    say('asked after the reset', await where(page));
    await context.close();
  }
});
