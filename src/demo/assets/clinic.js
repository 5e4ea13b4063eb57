// Tells the user of changes by long-polling, as EMRs of this age do.
(function () {
  "use strict";
  var news = document.getElementById("news");
  function ask(since) {
    fetch("/api/poll?since=" + since, { headers: { Accept: "application/json" } })
      .then(function (answer) {
        if (!answer.ok || answer.redirected) { throw new Error("signed out"); }
        return answer.json();
      })
      .then(function (state) {
        if (since > 0 && state.version > since) { news.textContent = "Charts have changed."; }
        ask(state.version);
      })
      .catch(function () { window.setTimeout(function () { ask(0); }, 30000); });
  }
  if (news) { ask(0); }
})();
