// Locks this page with its session: hides it, keeps what was typed, and comes back once its user has unlocked it.
// It decides nothing. While a session is locked the gateway forwards nothing, with or without this script.
(function () {
  "use strict";
  var own = document.currentScript;
  var SCREEN = "/.chartgate/session";
  var ACTIVE = "/.chartgate/active";
  var UNLOCK = "/.chartgate/unlock?return_to=%2F.chartgate%2Funlocked";
  var SWITCH = "/.chartgate/logout";
  if (!own) { return; }

  var others = null;
  try { others = new BroadcastChannel("chartgate-screen"); } catch (e) { others = null; }
  if (own.hasAttribute("data-unlocked")) {
    if (others) { others.postMessage("changed"); }
    window.close();
    return;
  }

  var mine = { session: own.getAttribute("data-session"), user: own.getAttribute("data-user") };
  var beat = 20000;         // activity is told at most this often
  var locksAt = Infinity;   // when the screen locks, as far as this page knows
  var askAt = 0;            // when to ask next
  var typedAt = 0, toldAt = 0, asking = false, hurry = 0, cover = null;

  // A frame whose surrounding page locks leaves that to it, and tells it of activity.
  function above() {
    var frame = window;
    try {
      while (frame.parent !== frame) {
        frame = frame.parent;
        if (frame.chartgateScreen) { return frame.chartgateScreen; }
      }
    } catch (e) { return null; }
    return null;
  }

  function ask(path, method) {
    if (asking) { return; }
    asking = true;
    askAt = Date.now() + 10000;
    fetch(path, { method: method, credentials: "same-origin", cache: "no-store" })
      .then(function (answer) {
        if (!answer.ok) { throw new Error("not answered"); }
        return answer.json();
      })
      .then(obey, function () {
        // Without an answer the page locks by what it knows.
        if (Date.now() >= locksAt) { hide("locked"); }
      })
      .then(function () { asking = false; });
  }

  function obey(screen) {
    if (screen.state === "open") {
      if (screen.user !== mine.user) { window.location.replace("/"); return; }
      beat = Math.min(60000, Math.max(1000, screen.after * 1000 / 3));
      locksAt = Date.now() + screen.locks_in * 1000;
      askAt = locksAt - Math.min(1500, screen.locks_in * 500);
      show();
      return;
    }
    locksAt = 0;
    hide(screen.state === "locked" ? "locked" : "ended");
    askAt = Date.now() + (Date.now() < hurry ? 1500 : 8000);
  }

  function tick() {
    if (above()) { return; }
    var now = Date.now();
    if (!cover && typedAt > toldAt && now - toldAt >= beat) {
      toldAt = now;
      ask(ACTIVE, "POST");
    } else if (now >= askAt) {
      ask(SCREEN, "GET");
    }
    if (!cover && now >= locksAt) { hide("locked"); ask(SCREEN, "GET"); }
    if (cover && !cover.box.open) { cover.box.showModal(); }
  }

  function worked() {
    var page = above();
    if (page) { page.worked(); return; }
    if (cover) { return; }
    typedAt = Date.now();
    tick();
  }

  function part(name, text, styles) {
    var element = document.createElement(name);
    if (text) { element.textContent = text; }
    Object.keys(styles).forEach(function (key) { element.style.setProperty(key, styles[key], "important"); });
    return element;
  }

  var LOOK = { display: "block", margin: "0 0 1rem", color: "#fff", font: "1.05rem/1.5 system-ui, sans-serif", visibility: "visible" };
  function like(more) { return Object.assign({}, LOOK, more); }

  // Put in by the gateway, in the language of the browser.
  var WORDS = "words";

  function hide(why) {
    if (above()) { return; }
    if (cover && cover.why === why) { return; }
    if (cover) { show(); }
    var words = why === "locked"
      ? [WORDS.locked, WORDS.locked_text, WORDS.unlock]
      : [WORDS.ended, WORDS.ended_text, WORDS.sign_in];
    var box = part("dialog", "", {
      position: "fixed", inset: "0", width: "100vw", height: "100vh", "max-width": "none", "max-height": "none",
      margin: "0", padding: "0", border: "0", background: "#0f2a2e", display: "grid", "place-items": "center",
      "z-index": "2147483647", visibility: "visible", opacity: "1"
    });
    box.id = "chartgate-lock";
    box.setAttribute("aria-label", words[0]);
    var inner = part("div", "", like({ "max-width": "32rem", padding: "2rem" }));
    inner.appendChild(part("h1", words[0], like({ "font-size": "1.6rem", "font-weight": "600" })));
    inner.appendChild(part("p", words[1], LOOK));
    var button = { display: "inline-block", padding: ".6rem 1.2rem", "border-radius": ".4rem", "text-decoration": "none", margin: "0 1rem 0 0" };
    var unlock = part("a", words[2], like(Object.assign({ background: "#fff", color: "#0f2a2e" }, button)));
    unlock.id = "chartgate-unlock";
    unlock.href = UNLOCK;
    unlock.target = "_blank";
    unlock.addEventListener("click", function (event) {
      hurry = Date.now() + 180000;
      askAt = Date.now() + 1500;
      if (window.open(UNLOCK, "chartgate-unlock", "popup,width=560,height=760")) { event.preventDefault(); }
    });
    inner.appendChild(unlock);
    var leave = part("a", WORDS.someone_else, like(Object.assign({ color: "#fff", border: "1px solid #fff" }, button)));
    leave.id = "chartgate-switch";
    leave.href = SWITCH;
    inner.appendChild(leave);
    box.appendChild(inner);
    box.addEventListener("cancel", function (event) { event.preventDefault(); });
    var root = document.documentElement;
    cover = {
      box: box, why: why, title: document.title,
      visibility: root.style.getPropertyValue("visibility"), priority: root.style.getPropertyPriority("visibility"),
      focus: document.activeElement
    };
    // Hidden, not merely covered: nothing of it is painted, found by a search of the page, printed, or reached by keys.
    root.style.setProperty("visibility", "hidden", "important");
    document.title = words[0];
    (document.body || root).appendChild(box);
    box.showModal();
  }

  function show() {
    if (!cover) { return; }
    var before = cover;
    cover = null;
    before.box.close();
    before.box.remove();
    var root = document.documentElement;
    if (before.visibility) { root.style.setProperty("visibility", before.visibility, before.priority); } else { root.style.removeProperty("visibility"); }
    document.title = before.title;
    if (before.focus && before.focus.focus) { before.focus.focus(); }
  }

  window.chartgateScreen = { worked: worked };
  ["keydown", "input", "pointerdown", "wheel", "touchstart"].forEach(function (name) {
    window.addEventListener(name, worked, { capture: true, passive: true });
  });
  function again() { askAt = 0; tick(); }
  window.addEventListener("focus", again);
  window.addEventListener("pageshow", again);
  document.addEventListener("visibilitychange", again);
  if (others) { others.onmessage = again; }
  window.setInterval(tick, 500);
  tick();
})();
