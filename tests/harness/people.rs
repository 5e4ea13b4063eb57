//! How people sign in at the provider, whoever runs the gateway: this process or the binary.

use chartgate::clock::{SharedClock, SystemClock};
use chartgate::demo::clinic::EMR_PASSWORD;
use chartgate::demo::users::{DemoUser, staff};

use super::{Browser, Page};

/// The staff in front of one gateway.
#[derive(Clone, Debug)]
pub(crate) struct People {
    gateway: String,
    issuer: String,
    clock: SharedClock,
}

impl People {
    /// Those who use `gateway` and have their accounts at `issuer`.
    pub(crate) fn of(gateway: &str, issuer: &str) -> Self {
        Self {
            gateway: gateway.trim_end_matches('/').to_owned(),
            issuer: issuer.to_owned(),
            clock: SystemClock::shared(),
        }
    }

    /// The same people, whose one-time codes are made by this clock.
    pub(crate) fn by(self, clock: SharedClock) -> Self {
        Self { clock, ..self }
    }

    /// An absolute URL at the gateway.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.gateway)
    }

    /// The browser in which `user` has signed in at the gateway.
    pub(crate) async fn signed_in(&self, mut browser: Browser, user: &str) -> Browser {
        let page = self.sign_in(&mut browser, user, &self.url("/echo")).await;
        assert_eq!(page.status, 200, "{user}: {}", page.text());
        browser
    }

    /// The browser in which `user` has signed in at the gateway and at the EMR.
    pub(crate) async fn at_work(&self, browser: Browser, user: &str) -> Browser {
        let mut browser = self.signed_in(browser, user).await;
        let page = browser
            .post_form(
                &self.url("/login"),
                &[("username", user), ("password", EMR_PASSWORD)],
            )
            .await;
        assert_eq!(page.status, 302, "{}", page.text());
        browser
    }

    /// Opens `url`, and signs in as `user` where that is asked for.
    pub(crate) async fn sign_in(&self, browser: &mut Browser, user: &str, url: &str) -> Page {
        let page = browser.visit(url).await;
        self.sign_in_from(browser, user, page).await
    }

    /// Goes on as `user` from where a browser was sent to sign in: the notice before it, or the provider.
    pub(crate) async fn sign_in_from(&self, browser: &mut Browser, user: &str, page: Page) -> Page {
        self.sign_in_as(browser, &person(user), page).await
    }

    /// The same, for anybody.
    pub(crate) async fn sign_in_as(
        &self,
        browser: &mut Browser,
        person: &DemoUser,
        page: Page,
    ) -> Page {
        let page = if page.url.path() == "/.chartgate/login" && page.status == 200 {
            let (return_to, ticket) = (hidden(&page, "return_to"), hidden(&page, "ticket"));
            let fields = [("return_to", &*return_to), ("ticket", &*ticket)];
            browser.post_form(page.url.as_str(), &fields).await
        } else {
            page
        };
        let page = browser.follow(page).await;
        if !page.url.as_str().starts_with(&self.issuer) {
            return page;
        }
        let transaction = hidden(&page, "transaction");
        let login = page.url.join("/login").unwrap();
        let fields = [
            ("transaction", transaction.as_str()),
            ("username", person.name()),
            ("password", person.password()),
        ];
        let page = browser.post_form(login.as_str(), &fields).await;
        let page = browser.follow(page).await;
        let Some(code) = person.totp_code(self.clock.now()) else {
            return page;
        };
        if !page.url.as_str().starts_with(&self.issuer) {
            return page;
        }
        let transaction = hidden(&page, "transaction");
        let check = page.url.join("/login/code").unwrap();
        let page = browser
            .post_form(
                check.as_str(),
                &[("transaction", &transaction), ("code", &code)],
            )
            .await;
        browser.follow(page).await
    }
}

/// The demonstration's user called `name`.
pub(crate) fn person(name: &str) -> DemoUser {
    staff()
        .into_iter()
        .find(|user| user.name() == name)
        .unwrap_or_else(|| panic!("no user {name}"))
}

/// The value of a hidden field.
pub(crate) fn hidden(page: &Page, name: &str) -> String {
    let text = page.text();
    let marker = format!("name=\"{name}\" value=\"");
    let rest = text
        .split_once(&marker)
        .unwrap_or_else(|| panic!("no field {name} in {text}"))
        .1;
    let value = rest.split('"').next().unwrap();
    [
        ("&#34;", "\""),
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&#38;", "&"),
    ]
    .iter()
    .fold(value.to_owned(), |value, (entity, c)| {
        value.replace(entity, c)
    })
}
