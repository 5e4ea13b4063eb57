//! Hears an HTML page as it passes: attributes and texts of the elements that a selector finds.
//!
//! *Owns*: what `lol_html` keeps of a page that streams through it, at most [`MEMORY`], and [`LONGEST`] bytes of the text
//! of an element for each rule. Scripts are not run: what a page makes of itself later is not heard.
//! *Never*: the page itself; it went on already.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use lol_html::html_content::{Element, EndTag, TextChunk};
use lol_html::{
    ElementContentHandlers, HandlerResult, HtmlRewriter, MemorySettings, Selector, Settings,
};

use super::Rules;
use super::gathered::Gathered;
use super::rule::{LONGEST, Place};
use crate::request::appeared::Unheard;

/// The most that the search may keep in memory, in bytes: a tag with a picture in it has to fit.
const MEMORY: usize = 256 * 1024;
/// The page is looked through in pieces of this size, so that one large piece does not exhaust [`MEMORY`].
const PIECE: usize = 16 * 1024;
/// Elements whose beginning or end is the end of others that are still open (HTML §13.1.2.4, optional tags).
const ENDING: &str =
    "td, th, tr, tbody, thead, tfoot, table, li, ul, ol, option, optgroup, select, dt, dd, dl";

type Silent = fn(&[u8]);

/// The reader of one answer.
pub(super) struct HtmlReader {
    rewriter: Option<HtmlRewriter<'static, Silent>>,
}

/// Which elements end each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Cell,
    Item,
    Choice,
    Term,
}

impl Family {
    /// The family of an element that others of its family end.
    fn of(tag: &str) -> Option<Self> {
        match tag {
            "td" | "th" => Some(Self::Cell),
            "li" => Some(Self::Item),
            "option" => Some(Self::Choice),
            "dt" | "dd" => Some(Self::Term),
            _ => None,
        }
    }

    /// The family of which elements end where this one begins.
    fn ended_by(tag: &str) -> Option<Self> {
        match tag {
            "tr" | "tbody" | "thead" | "tfoot" => Some(Self::Cell),
            "optgroup" => Some(Self::Choice),
            other => Self::of(other),
        }
    }

    /// The family of which elements end where this one does.
    fn ended_with(tag: &str) -> Option<Self> {
        match tag {
            "tr" | "tbody" | "thead" | "tfoot" | "table" => Some(Self::Cell),
            "ul" | "ol" => Some(Self::Item),
            "select" | "optgroup" => Some(Self::Choice),
            "dl" => Some(Self::Term),
            _ => None,
        }
    }
}

/// The text of an element that is open.
struct Open {
    rule: usize,
    family: Option<Family>,
    text: String,
    too_long: bool,
}

/// What the handlers share.
struct Shared {
    gathered: Rc<RefCell<Gathered>>,
    open: RefCell<Vec<Open>>,
}

impl Shared {
    fn take(&self, rule: usize, text: &str) {
        self.gathered.borrow_mut().take(rule, text);
    }

    fn begin(&self, rule: usize, family: Option<Family>) {
        self.end(|open| open.rule == rule);
        self.open.borrow_mut().push(Open {
            rule,
            family,
            text: String::new(),
            too_long: false,
        });
    }

    fn push(&self, rule: usize, text: &str) {
        let mut all = self.open.borrow_mut();
        if let Some(open) = all.iter_mut().find(|open| open.rule == rule) {
            if open.text.len().saturating_add(text.len()) > LONGEST {
                open.too_long = true;
            } else {
                open.text.push_str(text);
            }
        }
    }

    /// These elements are over.
    fn end(&self, is: impl Fn(&Open) -> bool) {
        let mut gathered = self.gathered.borrow_mut();
        self.open.borrow_mut().retain(|open| {
            let over = is(open);
            if over && open.too_long {
                gathered.too_long();
            } else if over {
                gathered.take(open.rule, &open.text);
            }
            !over
        });
    }

    fn end_family(&self, family: Option<Family>) {
        if family.is_some() {
            self.end(|open| open.family == family);
        }
    }
}

impl HtmlReader {
    pub(super) fn by(rules: &Rules, gathered: &Rc<RefCell<Gathered>>) -> Self {
        let shared = Rc::new(Shared {
            gathered: Rc::clone(gathered),
            open: RefCell::default(),
        });
        let memory = MemorySettings::new()
            .with_preallocated_parsing_buffer_size(1024)
            .with_max_allowed_memory_usage(MEMORY);
        let mut settings = Settings::new()
            .with_memory_settings(memory)
            .with_strict(false);
        let texts = |place: &Place| match place {
            Place::Html(elements) => elements.attribute.is_none(),
            Place::Json(_) | Place::Csv(_) => false,
        };
        if rules.iter().any(|rule| texts(&rule.place))
            && let Ok(ending) = ENDING.parse::<Selector>()
        {
            let handlers = ending_handlers(Rc::clone(&shared));
            settings = settings.append_element_content_handler((Cow::Owned(ending), handlers));
        }
        for (at, rule) in rules.iter().enumerate() {
            let Place::Html(elements) = &rule.place else {
                continue;
            };
            let handlers = match &elements.attribute {
                Some(name) => attribute_handlers(Rc::clone(&shared), at, name.clone()),
                None => text_handlers(&shared, at),
            };
            let selector = Cow::Owned(elements.selector.clone());
            settings = settings.append_element_content_handler((selector, handlers));
        }
        let silent: Silent = |_| {};
        Self {
            rewriter: Some(HtmlRewriter::new(settings, silent)),
        }
    }

    /// A piece of the answer.
    pub(super) fn hear(&mut self, piece: &[u8]) -> Result<(), Unheard> {
        for part in piece.chunks(PIECE) {
            let Some(rewriter) = &mut self.rewriter else {
                return Err(Unheard::Memory);
            };
            // The handlers never fail, and nothing is ambiguous to it: what is left is memory.
            if let Err(error) = rewriter.write(part) {
                tracing::debug!(%error, "a page is not heard to its end");
                self.rewriter = None;
                return Err(Unheard::Memory);
            }
        }
        Ok(())
    }

    /// There is no more.
    pub(super) fn end(&mut self) -> Result<(), Unheard> {
        match self.rewriter.take().map(HtmlRewriter::end) {
            Some(Ok(())) | None => Ok(()),
            Some(Err(_)) => Err(Unheard::Memory),
        }
    }
}

// The compiler does not see that a closure takes elements of any lifetime unless it is told where the closure is made.
fn on_element<F: FnMut(&mut Element<'_, '_>) -> HandlerResult>(handler: F) -> F {
    handler
}

fn on_text<F: FnMut(&mut TextChunk<'_>) -> HandlerResult>(handler: F) -> F {
    handler
}

fn on_end<F: FnOnce(&mut EndTag<'_>) -> HandlerResult>(handler: F) -> F {
    handler
}

/// Ends what is open where other elements begin or end.
fn ending_handlers(shared: Rc<Shared>) -> ElementContentHandlers<'static> {
    ElementContentHandlers::default().element(on_element(move |element| {
        let tag = element.tag_name();
        shared.end_family(Family::ended_by(&tag));
        if let (Some(family), Some(ends)) = (Family::ended_with(&tag), element.end_tag_handlers()) {
            let shared = Rc::clone(&shared);
            ends.push(Box::new(on_end(move |_| {
                shared.end_family(Some(family));
                Ok(())
            })));
        }
        Ok(())
    }))
}

fn attribute_handlers(
    shared: Rc<Shared>,
    rule: usize,
    name: String,
) -> ElementContentHandlers<'static> {
    ElementContentHandlers::default().element(on_element(move |element| {
        if let Some(value) = element.get_attribute(&name) {
            shared.take(rule, &value);
        }
        Ok(())
    }))
}

fn text_handlers(shared: &Rc<Shared>, rule: usize) -> ElementContentHandlers<'static> {
    let (at_element, at_text) = (Rc::clone(shared), Rc::clone(shared));
    ElementContentHandlers::default()
        .element(on_element(move |element| {
            at_element.begin(rule, Family::of(&element.tag_name()));
            if let Some(ends) = element.end_tag_handlers() {
                let shared = Rc::clone(&at_element);
                ends.push(Box::new(on_end(move |_| {
                    shared.end(|open| open.rule == rule);
                    Ok(())
                })));
            }
            Ok(())
        }))
        .text(on_text(move |chunk| {
            at_text.push(rule, chunk.as_str());
            Ok(())
        }))
}

#[cfg(test)]
mod tests {
    use super::super::rule::tests::rule;
    use super::super::rule::{Elements, Part, Rule};
    use super::*;
    use proptest::prelude::*;

    fn elements(selector: &str, attribute: Option<&str>) -> Rule {
        rule(Place::Html(Elements {
            text: selector.to_owned(),
            selector: selector.parse().unwrap(),
            attribute: attribute.map(str::to_owned),
        }))
    }

    fn heard(rules: Vec<Rule>, pieces: &[&[u8]]) -> (Vec<String>, Option<Unheard>) {
        let rules: Rules = rules.into();
        let gathered = Rc::new(RefCell::new(Gathered::by(rules.clone())));
        let mut reader = HtmlReader::by(&rules, &gathered);
        let heard = pieces.iter().try_for_each(|piece| reader.hear(piece));
        let ended = heard.and_then(|()| reader.end());
        let appeared = gathered.borrow_mut().appeared(ended.err());
        let ids = appeared.patients.into_iter().map(|p| p.id).collect();
        (ids, appeared.unknown)
    }

    fn texts(selector: &str, page: &str) -> Vec<String> {
        let (ids, unknown) = heard(vec![elements(selector, None)], &[page.as_bytes()]);
        assert_eq!(unknown, None, "{page}");
        ids
    }

    #[test]
    fn texts_of_elements_are_read_however_they_end() {
        let both = ["1", "2"];
        for page in [
            "<table><tr><td class=mrn>1</td><td>9</td></tr><tr><td class=mrn>\n <b>2</b> </td></tr></table>",
            "<table><tr><td class=mrn>1<td>9<tr><td class=mrn>2&nbsp;<td>8</table><p>7",
            "<TABLE><TR><TD CLASS='mrn'>1<TH>9</TR><TR><TD CLASS=mrn>2</TABLE>7",
            "<table><tr><td class='x mrn'><a href=''>1</a> <!-- 5 --></td></tr><td class=mrn>2</td>",
            "<td class=mrn></td><td class=mrn>1</td><td class=MRN>3</td><td class=mrn>2</td>",
        ] {
            assert_eq!(texts("td.mrn", page), both, "{page}");
        }
        for page in [
            "<ul><li class=p>1<li class=q>9<li class=p>2</ul>",
            "<ul><li class=p><ul><li>9</ul>1<li class=p>2</ul>3",
        ] {
            let found = texts("li.p", page);
            assert!(found.contains(&"2".to_owned()) && !found.contains(&"9".to_owned()));
        }
        assert_eq!(
            texts("span.p", "<span class=p>1<b>2</b>3</span>4"),
            ["123"],
            "what is shown as one number is one"
        );
        let choices = "<select><option class=p>1<option>9<option class=p>2</select>3";
        assert_eq!(texts("option.p", choices), both);
    }

    #[test]
    fn attributes_are_read_where_they_are() {
        let rules = || {
            let mut link = elements("main a[href*='set_pid=']", Some("href"));
            link.part = Part::Field("set_pid".to_owned());
            vec![elements("tr[data-pid]", Some("data-pid")), link]
        };
        let page = "<a href='/x?set_pid=9'>own</a><main><tr data-pid=1><tr data-pid='2'/>
            <a href=\"/x?a=b&amp;set_pid=3\">A</a><a href='/y'>4</a></main>";
        let expected = (vec!["1".into(), "2".into(), "3".into()], None);
        assert_eq!(heard(rules(), &[page.as_bytes()]), expected);
        let pieces: Vec<&[u8]> = page.as_bytes().chunks(1).collect();
        assert_eq!(heard(rules(), &pieces), expected);
    }

    #[test]
    fn old_character_sets_leave_numbers_as_they_are() {
        let page = b"<td>M\xfcller\xe9</td><td class=mrn>1</td>\xff\xfe<td class=mrn>2</td>";
        let found = heard(vec![elements("td.mrn", None)], &[page]);
        assert_eq!(found, (vec!["1".into(), "2".into()], None));
    }

    #[test]
    fn memory_is_bounded_and_what_passed_before_counts() {
        let mut page = b"<td class=mrn>1</td><td title='".to_vec();
        page.extend(vec![b'x'; 2 * MEMORY]);
        page.extend(b"'></td><td class=mrn>2</td>");
        let found = heard(vec![elements("td.mrn", None)], &[&page]);
        assert_eq!(found, (vec!["1".into()], Some(Unheard::Memory)));
        let deep = format!("<td class=mrn>1</td>{}", "<div>".repeat(200_000));
        let found = heard(vec![elements("td.mrn", None)], &[deep.as_bytes()]);
        assert_eq!(found, (vec!["1".into()], Some(Unheard::Memory)));
        let long = format!(
            "<td class=mrn>{}</td><td class=mrn>2</td>",
            "1".repeat(5_000)
        );
        let found = heard(vec![elements("td.mrn", None)], &[long.as_bytes()]);
        assert_eq!(found, (vec!["2".into()], Some(Unheard::Misfit)));
        let picture = format!(
            "<img src='data:{}'><td class=mrn>2</td>",
            "A".repeat(100_000)
        );
        assert_eq!(texts("td.mrn", &picture), ["2"]);
    }

    proptest! {
        #[test]
        fn it_is_the_same_in_any_pieces(
            parts in prop::collection::vec(
                prop::sample::select(vec!["<td class=mrn>", "</td>", "<tr>", "1", "22", " ", "<b>", "</b>", "<li>", "<", "&nbsp;", "<!-- ", "-->", "\u{e9}"]),
                0..24,
            ),
            cut in 1_usize..9,
        ) {
            let page = parts.concat();
            let rules = || vec![elements("td.mrn", None)];
            let pieces: Vec<&[u8]> = page.as_bytes().chunks(cut).collect();
            prop_assert_eq!(heard(rules(), &pieces), heard(rules(), &[page.as_bytes()]));
        }
    }
}
