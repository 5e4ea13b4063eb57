// A hospital's OpenID provider, made of the certified `oidc-provider`: password, TOTP, acr and amr in the ID token,
// RP-initiated and back-channel logout, PAR, `private_key_jwt` with the client's published keys, refresh tokens that are
// rotated for clients that may have them, client certificates (RFC 8705). It listens on 127.0.0.1 over TLS and prints
// "ready ISSUER" once it answers.
//
// Environment: PORT, TLS_CERT, TLS_KEY, CLIENTS (JSON array of client metadata), NODE_EXTRA_CA_CERTS (for the way back).
// With CLIENT_CA (PEM) it asks for client certificates: at PORT, and takes any; or with MTLS_PORT only there, and takes
// none but that CA's, as a proxy in front of a provider does. Discovery names the addresses of that port then.
import crypto from 'node:crypto';
import dns from 'node:dns';
import fs from 'node:fs';
import https from 'node:https';
import Provider, { interactionPolicy } from 'oidc-provider';

const port = Number(process.env.PORT);
const issuer = `https://localhost:${port}`;
const ACR_PASSWORD = 'urn:example:acr:pwd';
const ACR_MFA = 'urn:example:acr:mfa';
const ACR_KEY = 'urn:example:acr:key'; // a security key: cannot be phished
const SEED = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP';

const people = {
  'dr.adams': { password: 'Correct-horse-1', seed: SEED, key: true, name: 'Dr. Adams', groups: ['emr-physicians'] },
  'nurse.lee': { password: 'Correct-horse-2', seed: SEED, name: 'Nurse Lee', groups: ['emr-nurses'] },
  'clerk.kim': { password: 'Correct-horse-3', seed: null, name: 'Clerk Kim', groups: ['emr-frontdesk'] }, // one factor only
  'sec.ops': { password: 'Correct-horse-4', seed: SEED, name: 'Sec Ops', groups: ['emr-admins'] },
};

// The back channel calls the gateway by a name that no resolver knows.
const resolve = dns.lookup;
dns.lookup = (host, options, done) => resolve(host.endsWith('.test') ? '127.0.0.1' : host, options, done);

function totp(seed, at) {
  const bits = [...seed].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(at / 30_000)));
  const mac = crypto.createHmac('sha1', key).update(counter).digest();
  const code = mac.readUInt32BE(mac.at(-1) & 15) & 0x7fffffff;
  return String(code % 1_000_000).padStart(6, '0');
}

function signingKey(alg, type, options) {
  const { privateKey } = crypto.generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: alg };
}

// What the connection shows. Node writes a subject with the most general part first and a line for each.
const shown = (context) => context.socket.getPeerX509Certificate?.();
function isSubject(certificate, property, expected) {
  if (property === 'tls_client_auth_san_dns') return certificate.subjectAltName?.split(', ').includes(`DNS:${expected}`) ?? false;
  return property === 'tls_client_auth_subject_dn' && certificate.subject.split('\n').reverse().join(',') === expected;
}
const mtls = {
  enabled: Boolean(process.env.CLIENT_CA),
  tlsClientAuth: true,
  selfSignedTlsClientAuth: true,
  getCertificate: (context) => shown(context)?.toString(),
  certificateAuthorized: (context) => context.socket.authorized,
  certificateSubjectMatches: (context, property, expected) => isSubject(shown(context), property, expected),
};
const certified = process.env.MTLS_PORT && `https://localhost:${process.env.MTLS_PORT}`;

const provider = new Provider(issuer, {
  clients: JSON.parse(process.env.CLIENTS),
  jwks: { keys: [signingKey('RS256', 'rsa', { modulusLength: 2048 }), signingKey('ES256', 'ec', { namedCurve: 'P-256' })] },
  acrValues: [ACR_PASSWORD, ACR_MFA, ACR_KEY],
  interactions: { policy: interactionPolicy.base(), url: (_context, interaction) => `/interaction/${interaction.uid}` },
  cookies: { keys: [crypto.randomBytes(32).toString('hex')] },
  // acr, amr and auth_time reach the ID token because they belong to the scope every client asks for.
  claims: { openid: ['sub', 'acr', 'amr', 'auth_time'], profile: ['name', 'preferred_username'], groups: ['groups'] },
  scopes: ['openid', 'profile', 'groups'],
  conformIdTokenClaims: false,
  findAccount: (_context, subject) => people[subject] && {
    accountId: subject,
    claims: async () => ({ sub: subject, name: people[subject].name, preferred_username: subject, groups: people[subject].groups }),
  },
  features: {
    devInteractions: { enabled: false },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    pushedAuthorizationRequests: { enabled: true },
    ...(mtls.enabled && { mTLS: mtls }),
  },
  ...(mtls.enabled && { clientAuthMethods: ['client_secret_basic', 'tls_client_auth', 'self_signed_tls_client_auth'] }),
  ...(certified && {
    discovery: { mtls_endpoint_aliases: { token_endpoint: `${certified}/token`, pushed_authorization_request_endpoint: `${certified}/request` } },
  }),
  enabledJWA: { clientAuthSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA', 'HS256'] },
  pkce: { required: () => true },
  issueRefreshToken: async (_context, client) => client.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: () => true,
  ttl: { AccessToken: 300, IdToken: 300, AuthorizationCode: 60, RefreshToken: 43_200, Session: 43_200, Interaction: 600, Grant: 43_200 },
  // The library refuses to call loopback addresses unless it is given a fetch of its own.
  fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined }),
  renderError: async (context, out) => {
    context.type = 'json';
    context.body = out;
  },
});
provider.on('server_error', (_context, error) => console.error('server error', error));
provider.on('grant.success', (context) => console.log('granted', context.oidc.params.grant_type));
provider.on('grant.error', (context, error) => console.log('not granted', context.oidc?.params?.grant_type, error.error, error.error_detail ?? ''));
provider.on('backchannel.error', (_context, error, client) => console.error('back channel failed', client?.clientId, error?.message));
provider.on('backchannel.success', (_context, client) => console.log('back channel delivered', client.clientId));

const page = (uid, step, problem = '') => `<!doctype html><html lang="en"><title>Hospital sign-in</title><h1>Hospital sign-in</h1>
<p role="alert">${problem}</p><form method="post" action="/interaction/${uid}/${step}">${step === 'password'
  ? '<label>User <input name="username" autocomplete="username"></label><label>Password <input name="password" type="password"></label>'
  : step === 'key' ? '<p>Touch your security key.</p>' : '<label>Code <input name="otp" inputmode="numeric" autocomplete="one-time-code"></label>'}<button>Continue</button></form>`;

const passed = new Map(); // interaction -> the user whose password was right
const coded = new Map(); // interaction -> the user whose code was right as well

async function form(request) {
  let body = '';
  for await (const chunk of request) body += chunk;
  return new URLSearchParams(body);
}

async function consent(request, response, { grantId, session, params, prompt }) {
  // The gateway is the hospital's own client: nobody is asked.
  const grant = grantId
    ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  if (prompt.details.missingOIDCScope) grant.addOIDCScope(prompt.details.missingOIDCScope.join(' '));
  if (prompt.details.missingOIDCClaims) grant.addOIDCClaims(prompt.details.missingOIDCClaims);
  const result = { consent: { grantId: await grant.save() } };
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

async function interact(request, response, step) {
  const show = (status, html) => {
    response.writeHead(status, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
    response.end(html);
  };
  const details = await provider.interactionDetails(request, response);
  const { uid, prompt, params } = details;
  const wantsKey = String(params.acr_values ?? '').split(' ').includes(ACR_KEY);
  const finish = (user, amr, acr) => {
    passed.delete(uid);
    coded.delete(uid);
    return provider.interactionFinished(request, response, { login: { accountId: user, amr, acr } }, { mergeWithLastSubmission: false });
  };
  if (prompt.name === 'consent') return consent(request, response, details);
  if (request.method === 'GET') return show(200, page(uid, 'password'));
  const fields = await form(request);
  if (step === 'password') {
    const user = fields.get('username');
    const person = Object.hasOwn(people, user) ? people[user] : undefined;
    if (!person || fields.get('password') !== person.password) return show(401, page(uid, 'password', 'Wrong user name or password'));
    // Like many providers: who has no second factor gets in with one, whatever the client asked for.
    if (!person.seed) return finish(user, ['pwd'], ACR_PASSWORD);
    passed.set(uid, user);
    return show(200, page(uid, 'code'));
  }
  if (step === 'key') {
    const holder = coded.get(uid);
    if (!holder) return show(401, page(uid, 'password', 'Start with the password'));
    return finish(holder, ['pwd', 'hwk', 'mfa'], ACR_KEY);
  }
  const user = passed.get(uid);
  // The code before is taken too (RFC 6238, 5.2): it may have been the one shown when it was typed.
  const codes = user ? [Date.now(), Date.now() - 30_000].map((at) => totp(people[user].seed, at)) : [];
  if (!codes.includes(fields.get('otp'))) return show(401, page(uid, 'code', 'Wrong code'));
  // Whoever has no key gets in without, and the token says so.
  if (!wantsKey || !people[user].key) return finish(user, ['pwd', 'otp', 'mfa'], ACR_MFA);
  coded.set(uid, user);
  return show(200, page(uid, 'key'));
}

const serve = provider.callback();
const tls = { cert: fs.readFileSync(process.env.TLS_CERT), key: fs.readFileSync(process.env.TLS_KEY) };
function handle(request, response) {
  // What an administrator does: other groups for a person, or none of an account any more.
  const change = /^\/administrator\/(groups|close)\?(.*)$/.exec(request.url);
  if (change) {
    const asked = new URLSearchParams(change[2]);
    if (change[1] === 'close') delete people[asked.get('user')];
    else people[asked.get('user')].groups = asked.get('groups').split(' ').filter(Boolean);
    return response.end('done');
  }
  const match = /^\/interaction\/[^/]+(?:\/(password|code|key))?$/.exec(request.url);
  if (!match) return serve(request, response);
  return interact(request, response, match[1]).catch((error) => {
    response.writeHead(400, { 'content-type': 'text/plain' });
    response.end(String(error.message));
  });
}

const asking = mtls.enabled && { ...tls, ca: fs.readFileSync(process.env.CLIENT_CA), requestCert: true, rejectUnauthorized: Boolean(certified) };
if (certified) {
  const other = https.createServer(asking, handle).on('tlsClientError', (error) => console.log('no connection', error.code ?? error.message));
  await new Promise((done) => { other.listen(Number(process.env.MTLS_PORT), '127.0.0.1', done); });
}
https.createServer(certified ? tls : { ...tls, ...asking }, handle).listen(port, '127.0.0.1', () => console.log('ready', issuer));
