//! The text of a course: Markdown, as HTML that can do nothing but be read.
//!
//! SECURITY: the page is made of the events named here and of no other; whatever else Markdown can say is a problem
//! when the bundle is loaded, not something to be cleaned later.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, html};

use super::Notes;
use crate::policy::problem::line_of;

/// Reads the text, which begins at the line `first` of its file; nothing where it has a problem.
pub(super) fn html(text: &str, first: usize, notes: &mut Notes<'_>) -> Option<String> {
    let before = notes.findings.count();
    let mut events = Vec::new();
    for (event, range) in Parser::new_ext(text, Options::empty()).into_offset_iter() {
        if let Some(what) = strange(&event) {
            let line = line_of(text, range.start)
                .saturating_add(first)
                .saturating_sub(1);
            notes.push(
                line,
                format!("{what} has no place in a course"),
                "Use headings from `##` on, paragraphs, lists, quotations, *emphasis*, **strong** words, `code`, and links to https.",
            );
        }
        events.push(event);
    }
    if text.trim().is_empty() {
        notes.push(
            first,
            "the course has no text",
            "Write what people have to know.",
        );
    }
    (notes.findings.count() == before).then(|| {
        let mut page = String::new();
        html::push_html(&mut page, events.into_iter());
        page
    })
}

/// What an event is, where it may not be.
fn strange(event: &Event<'_>) -> Option<&'static str> {
    match event {
        Event::Start(tag) => strange_tag(tag),
        Event::Html(_) | Event::InlineHtml(_) => Some("raw HTML"),
        // Each end has had its start.
        Event::End(_)
        | Event::Text(_)
        | Event::Code(_)
        | Event::SoftBreak
        | Event::HardBreak
        | Event::Rule => None,
        Event::InlineMath(_) | Event::DisplayMath(_) => Some("a formula"),
        Event::FootnoteReference(_) => Some("a footnote"),
        Event::TaskListMarker(_) => Some("a task list"),
    }
}

fn strange_tag(tag: &Tag<'_>) -> Option<&'static str> {
    match tag {
        Tag::Heading {
            level: HeadingLevel::H1,
            ..
        } => Some("a heading of the first level (the title is that)"),
        Tag::Paragraph
        | Tag::Heading { .. }
        | Tag::BlockQuote(_)
        | Tag::CodeBlock(_)
        | Tag::List(_)
        | Tag::Item
        | Tag::Emphasis
        | Tag::Strong => None,
        Tag::Link { dest_url, .. } if dest_url.starts_with("https://") => None,
        Tag::Link { .. } => Some("a link to anything but https"),
        Tag::Image { .. } => Some("an image"),
        Tag::HtmlBlock => Some("raw HTML"),
        Tag::FootnoteDefinition(_) => Some("a footnote"),
        Tag::DefinitionList
        | Tag::DefinitionListTitle
        | Tag::DefinitionListDefinition
        | Tag::Table(_)
        | Tag::TableHead
        | Tag::TableRow
        | Tag::TableCell
        | Tag::Strikethrough
        | Tag::Superscript
        | Tag::Subscript
        | Tag::MetadataBlock(_) => Some("such markup"),
    }
}
