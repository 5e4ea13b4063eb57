//! What one person leaves behind at a workstation, ended before the next one sees a page.

use std::rc::Rc;

use http::HeaderValue;
use http::header::SET_COOKIE;

use super::Gateway;
use crate::emr::departing::Holder;
use crate::identity::clear_site_data;
use crate::limit::screen::Purpose;
use crate::request::received::Parts;
use crate::request::{Body, Event, Handled, Received, Refused, Target, Workplace};

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
        let Some((method, target)) = self.emr_sign_out(&parts.host) else {
            return;
        };
        if let Err(refused) = Box::pin(self.depart(parts.derived(method, target), session)).await {
            drop(self.refuse(refused).await);
        }
    }

    async fn depart(self: &Rc<Self>, parts: Parts, session: &str) -> Result<(), Refused> {
        let stages = &*self.stages;
        let request = Received::new(parts, Body::empty(), None, stages.policies.generation());
        let screened = stages.screen.screen(request, Purpose::Ordinary)?;
        let identified = stages.identity.identify_departed(screened, session).await?;
        // What the EMR answers is nobody's any more; that it signed out has been noted.
        let _answer = self.carry(identified).await?;
        Ok(())
    }

    /// How the EMR at a host is signed out of.
    pub(super) fn emr_sign_out(&self, host: &str) -> Option<(http::Method, Target)> {
        let emrs = &self.stages.emrs;
        let emr = emrs.by_host(host).and_then(|index| emrs.emr(index))?;
        let logout = emr.profile().logout()?;
        let target = Target::parse_str(logout.path()).ok()?;
        Some((logout.method().clone(), target))
    }
}
