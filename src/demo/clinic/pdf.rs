//! Writes a one-page PDF of plain text.

/// A PDF with a heading and lines of text. Characters beyond ASCII are left out.
pub(super) fn page(heading: &str, lines: &[String]) -> Vec<u8> {
    let mut text = format!("BT /F1 16 Tf 60 780 Td ({}) Tj /F1 11 Tf", literal(heading));
    for line in lines {
        text.push_str(" 0 -20 Td (");
        text.push_str(&literal(line));
        text.push_str(") Tj");
    }
    text.push_str(" ET");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R \
         /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{text}\nendstream", text.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    let mut file = String::from("%PDF-1.4\n");
    let mut offsets = String::new();
    for (number, object) in (1_u8..).zip(&objects) {
        let entry = format!("{:010} 00000 n \n", file.len());
        offsets.push_str(&entry);
        let object = format!("{number} 0 obj\n{object}\nendobj\n");
        file.push_str(&object);
    }
    let start = file.len();
    let trailer = format!(
        "xref\n0 6\n0000000000 65535 f \n{offsets}trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"
    );
    file.push_str(&trailer);
    file.into_bytes()
}

/// The text of a PDF string literal.
fn literal(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text
        .chars()
        .filter(|character| matches!(character, ' '..='~'))
    {
        if matches!(character, '(' | ')' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_of_the_cross_reference_points_at_its_object() {
        let file = String::from_utf8(page("A (b)", &["c\\d".to_owned()])).unwrap();
        let (_, table) = file.split_once("xref\n0 6\n").unwrap();
        for (number, entry) in table.lines().skip(1).take(5).enumerate() {
            let offset: usize = entry.split(' ').next().unwrap().parse().unwrap();
            let object = file.get(offset..).unwrap();
            assert!(object.starts_with(&format!("{} 0 obj", number + 1)));
        }
        assert!(file.contains("(A \\(b\\)) Tj"));
        assert!(file.contains("(c\\\\d) Tj"));
    }
}
