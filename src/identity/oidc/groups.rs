//! Groups that did not fit into the token (groups overage; OIDC Core §5.6.2): read at the address that the configuration
//! names, page by page, as Microsoft Graph gives them out.
//!
//! SECURITY: the address that the token itself names is never followed: it would carry the access token wherever a
//! token leads.
//!
//! *Never*: part of the groups taken for all of them.

use std::time::Duration;

use serde_json::Value;
use url::Url;

use super::claims::identifier;
use super::provider::Provider;
use super::userinfo::ask;
use crate::outbound::HttpError;
use crate::secret::Secret;

/// Why the groups are not known. Holds nothing of the answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::identity) enum GroupsError {
    #[error("the groups are not in the token (overage), and the issuer has no `groups_endpoint`")]
    NoEndpoint,
    #[error("the groups could not be read: {0}")]
    Http(#[source] HttpError),
    #[error("the list of groups is not of the form that is read")]
    Malformed,
    #[error("the list of groups goes on at another place")]
    Elsewhere,
    #[error("there are more than {MAX_PAGES} pages or {MAX_VALUES} groups")]
    TooMany,
    #[error("the groups were not read within {} s", DEADLINE.as_secs())]
    Deadline,
}

/// Most pages of a list.
const MAX_PAGES: usize = 20;
/// Most groups of one person.
const MAX_VALUES: usize = 5_000;
/// All pages together take no longer.
const DEADLINE: Duration = Duration::from_secs(20);

impl Provider {
    /// The values of every group that the person of this access token is in.
    pub(in crate::identity) async fn groups(
        &self,
        access_token: &Secret<String>,
    ) -> Result<Vec<String>, GroupsError> {
        let endpoint = self.settings().groups_endpoint.as_ref();
        let endpoint = endpoint.ok_or(GroupsError::NoEndpoint)?;
        tokio::time::timeout(DEADLINE, self.pages(endpoint, access_token))
            .await
            .unwrap_or(Err(GroupsError::Deadline))
    }

    async fn pages(
        &self,
        endpoint: &Url,
        access_token: &Secret<String>,
    ) -> Result<Vec<String>, GroupsError> {
        let mut values = Vec::new();
        let mut at = endpoint.clone();
        for _ in 0..MAX_PAGES {
            let bytes = ask(self.http(), &at, access_token)
                .await
                .map_err(GroupsError::Http)?;
            let page = Page::read(&bytes, &self.settings().groups_value)?;
            values.extend(page.values);
            if values.len() > MAX_VALUES {
                return Err(GroupsError::TooMany);
            }
            let Some(next) = page.next else {
                return Ok(values);
            };
            // SECURITY: the access token stays where the configuration sends it.
            if next.origin() != endpoint.origin() {
                return Err(GroupsError::Elsewhere);
            }
            at = next;
        }
        Err(GroupsError::TooMany)
    }
}

#[derive(Debug)]
struct Page {
    values: Vec<String>,
    next: Option<Url>,
}

impl Page {
    /// Reads `{"value": [{"id": …}, …], "@odata.nextLink": …}`, or a plain array.
    fn read(bytes: &[u8], pointer: &str) -> Result<Self, GroupsError> {
        let page: Value = serde_json::from_slice(bytes)
            .ok()
            .ok_or(GroupsError::Malformed)?;
        let entries = page.get("value").unwrap_or(&page).as_array();
        let values = entries
            .ok_or(GroupsError::Malformed)?
            .iter()
            .map(|entry| match entry {
                Value::String(_) => identifier(Some(entry)),
                Value::Object(_) => identifier(entry.pointer(pointer)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
            })
            .collect::<Option<_>>()
            .ok_or(GroupsError::Malformed)?;
        let next = match page.get("@odata.nextLink") {
            None | Some(Value::Null) => None,
            Some(Value::String(link)) => Some(link.parse().ok().ok_or(GroupsError::Malformed)?),
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                return Err(GroupsError::Malformed);
            }
        };
        Ok(Self { values, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_whole_or_not_at_all() {
        let read = |text: &str| Page::read(text.as_bytes(), "/id");
        let graph = r#"{"value": [{"id": "g1", "x": 1}, {"id": "g2"}], "@odata.nextLink": "https://g.example/2"}"#;
        let page = read(graph).unwrap();
        assert_eq!(page.values, ["g1", "g2"]);
        assert_eq!(page.next.unwrap().as_str(), "https://g.example/2");
        assert_eq!(read(r#"["a", "b"]"#).unwrap().values, ["a", "b"]);
        assert!(read(r#"{"value": []}"#).unwrap().values.is_empty());
        for text in [
            "",
            "{}",
            r#"{"value": null}"#,
            r#"{"value": [{"id": "g1"}, {}]}"#,
            r#"{"value": [{"id": 1}]}"#,
            r#"{"value": [null]}"#,
            r#"{"value": [], "@odata.nextLink": 1}"#,
            r#"{"value": [], "@odata.nextLink": "nowhere"}"#,
        ] {
            assert!(matches!(read(text), Err(GroupsError::Malformed)), "{text}");
        }
    }
}
