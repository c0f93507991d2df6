//! Markdown in sections: a heading and what is under it, up to the next one.

use crate::Document;

/// One document for each section that has text. Its title is its heading behind those above it.
pub(super) fn sections(text: &str, name: &str) -> Vec<Document> {
    let (category, body) = front_matter(text);
    let mut headings: Vec<(usize, String)> = Vec::new();
    let mut sections: Vec<(String, String)> = vec![(file_title(name), String::new())];
    let mut fenced = false;
    for line in body.lines() {
        let mark = line.trim_start();
        if mark.starts_with("```") || mark.starts_with("~~~") {
            fenced = !fenced;
            continue;
        }
        match heading(line).filter(|_| !fenced) {
            Some((level, title)) => {
                headings.retain(|(above, _)| *above < level);
                headings.push((level, title));
                let path: Vec<&str> = headings.iter().map(|(_, title)| title.as_str()).collect();
                sections.push((path.join(" › "), String::new()));
            }
            None => {
                if let Some((_, text)) = sections.last_mut() {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
    }
    let filled = sections.into_iter().filter(|(_, text)| !text.trim().is_empty());
    filled
        .enumerate()
        .map(|(number, (title, text))| Document {
            id: format!("{name}/{}", number + 1),
            category: category.clone(),
            title,
            text: text.trim().to_owned(),
            source: name.to_owned(),
            ..Document::default()
        })
        .collect()
}

fn file_title(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split_once('.').map_or(last, |(stem, _)| stem).to_owned()
}

/// `## Title`: how deep, and the title.
fn heading(line: &str) -> Option<(usize, String)> {
    let level = line.bytes().take_while(|&byte| byte == b'#').count();
    let title = line.get(level..)?.strip_prefix(' ')?.trim().trim_end_matches('#').trim();
    ((1..=6).contains(&level) && !title.is_empty()).then(|| (level, title.to_owned()))
}

/// `category: CODE` between lines of `---` at the very beginning, and what comes after them.
fn front_matter(text: &str) -> (String, &str) {
    let Some((head, body)) = text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")) else {
        return (String::new(), text);
    };
    let category = head.lines().find_map(|line| line.strip_prefix("category:"));
    (category.unwrap_or_default().trim().trim_matches(['"', '\'']).to_owned(), body)
}
