//! What one person leaves behind at a workstation, ended before the next one sees a page.

use std::rc::Rc;

use http::HeaderValue;
use http::header::SET_COOKIE;

use super::Gateway;
use super::lock::Errand;
use crate::emr::departing::Holder;
use crate::identity::clear_site_data;
use crate::limit::screen::Purpose;
use crate::request::received::Parts;
use crate::request::{Event, Handled, Refused, Workplace};

/// What has to go from the browser.
#[derive(Debug, Default)]
pub(super) struct Left {
    cookies: Vec<HeaderValue>,
    somebody: bool,
}

impl Left {
    /// Has the browser forget it, together with the answer.
    pub(super) fn clear(self, headers: &mut http::HeaderMap) {
        if self.somebody {
            clear_site_data(headers);
        }
        for cookie in self.cookies {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

impl Gateway {
    /// After a sign-in, one that failed, or one that waits for its second factor: ends at the EMR what the browser still
    /// has of anybody else.
    pub(super) async fn see_off(
        self: &Rc<Self>,
        parts: &Parts,
        answered: &Result<Handled, Refused>,
    ) -> Left {
        let (who, is_in) = match answered {
            // The one before was signed out, under whose name that is on record; whoever came has to sign in first.
            Ok(handled) if handled.event == Event::Logout => (None, false),
            Ok(handled) => {
                let is_in = handled.event == Event::Login;
                (handled.facts.principal.as_deref(), is_in)
            }
            Err(_) => (None, false),
        };
        let stages = &*self.stages;
        let holder = match stages.emrs.holder(&parts.host, &parts.headers).await {
            Ok(holder) => holder,
            Err(error) => {
                tracing::error!(%error, "whose EMR session a browser holds could not be looked up");
                Holder::Unknown
            }
        };
        let shared = stages.identity.workplace(parts) == Workplace::Shared;
        match holder {
            Holder::User { user, .. } if who.is_some_and(|who| who.id() == user) => Left {
                cookies: Vec::new(),
                somebody: is_in && shared,
            },
            // A sign-in that failed, or waits for its second factor, ended nothing where its session goes on.
            Holder::User { session, .. } if !is_in && !stages.identity.was_ended(&session) => {
                Left::default()
            }
            Holder::User { session, .. } => {
                self.sign_out_departed(parts, &session).await;
                Left {
                    cookies: stages.emrs.removals(&parts.host),
                    somebody: true,
                }
            }
            Holder::Unknown if is_in => Left {
                cookies: stages.emrs.removals(&parts.host),
                somebody: true,
            },
            Holder::Nobody if is_in => Left {
                cookies: Vec::new(),
                somebody: shared,
            },
            Holder::Unknown | Holder::Nobody => Left::default(),
        }
    }

    /// Ends the EMR's session in the name of the one who left it, decided and recorded like any request.
    async fn sign_out_departed(self: &Rc<Self>, parts: &Parts, session: &str) {
        let Some((method, target)) = self.emr_logout(&parts.host) else {
            return;
        };
        let stages = &*self.stages;
        let request = self.on_an_errand(parts.derived(method, target), Errand::SignOut);
        let identified = match stages.screen.screen(request, Purpose::Ordinary) {
            Ok(screened) => Box::pin(stages.identity.identify_departed(screened, session)).await,
            Err(refused) => Err(refused),
        };
        let _ = self.run(identified, Errand::SignOut).await;
    }
}
