//! Links lead somewhere, in the repository and in the published documentation.

use std::{fs, path::Path};

use crate::reading::{Guide, inline_links, pages, prose, references};

/// The anchor that GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_link_to_a_page_or_a_heading_leads_somewhere() {
    let mut links = 0;
    for (name, page) in pages() {
        let text = prose(&page);
        let links_of_the_page = inline_links(&text).chain(references(&text).map(|(_, to)| to));
        for link in links_of_the_page.filter(|link| !link.contains("://")) {
            links += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let path =
                if file.is_empty() { name.clone().into() } else { Path::new(&name).parent().unwrap().join(file) };
            assert!(path.exists(), "{name} links to {link}");
            if !heading.is_empty() {
                let page = fs::read_to_string(&path).unwrap();
                let mut headings =
                    page.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_matches(['#', ' ']));
                assert!(headings.any(|title| anchor(title) == heading), "{name} links to {link}");
            }
        }
    }
    assert!(links > 60, "{links} links");
}

/// The published pages link to each other by references, which `guide.rs` resolves.
#[test]
fn every_link_of_a_published_page_leads_somewhere_in_the_published_documentation() {
    let guide = Guide::read();
    let mut links = 0;
    for (name, page) in pages().into_iter().filter(|(name, _)| guide.publishes(name)) {
        let text = prose(&page);
        for link in inline_links(&text) {
            assert!(link.contains("://") || link.starts_with('#'), "{name}: write {link} as a reference");
        }
        for (reference, to) in references(&text) {
            links += 1;
            assert!(to.contains("://") || guide.resolves(reference), "{name}: guide.rs does not resolve [{reference}]");
        }
    }
    assert!(links > 10, "{links} links");
}
