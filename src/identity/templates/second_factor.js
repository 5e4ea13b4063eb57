(() => {
"use strict";
const form = document.getElementById("passkey");
const said = document.getElementById("passkey-said");
const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (buffer) => buffer === null ? null : btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const known = (list) => (list || []).map((one) => ({ ...one, id: bytes(one.id) }));
form.hidden = false;
if (!window.PublicKeyCredential) {
  said.textContent = said.dataset.missing;
  form.querySelector("button").disabled = true;
}
const options = () => {
  const { publicKey } = JSON.parse(form.dataset.options);
  publicKey.challenge = bytes(publicKey.challenge);
  if (publicKey.user) {
    publicKey.user.id = bytes(publicKey.user.id);
    publicKey.excludeCredentials = known(publicKey.excludeCredentials);
  } else {
    publicKey.allowCredentials = known(publicKey.allowCredentials);
  }
  return { publicKey };
};
const answer = ({ id, rawId, type, response }) => JSON.stringify({
  id, type, rawId: text(rawId), extensions: {},
  response: response.attestationObject
    ? { clientDataJSON: text(response.clientDataJSON), attestationObject: text(response.attestationObject) }
    : { clientDataJSON: text(response.clientDataJSON), authenticatorData: text(response.authenticatorData), signature: text(response.signature), userHandle: text(response.userHandle) },
});
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  said.textContent = "";
  try {
    form.elements.credential.value = answer(await navigator.credentials[form.dataset.use](options()));
    form.submit();
  } catch {
    said.textContent = said.dataset.cancelled;
  }
});
})();
