//! The marks inside a line of Markdown: emphasis, code, links, tags, escapes.

use super::grid::Placed;

/// What a character is to a reader.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    Text,
    /// A mark or a space: parts words.
    Mark,
    /// Text that is no mark whatever it looks like.
    Literal,
}

/// The words of a run of text without its marks; starts count from its beginning.
pub fn words(letters: &[char]) -> Vec<Placed> {
    let mut roles: Vec<Role> = letters
        .iter()
        .map(|char| {
            if char.is_whitespace() {
                Role::Mark
            } else {
                Role::Text
            }
        })
        .collect();
    code_and_escapes(letters, &mut roles);
    links_and_tags(letters, &mut roles);
    let bold = emphasis(letters, &mut roles);
    let mut words: Vec<Placed> = Vec::new();
    let mut open = false;
    for (at, char) in letters.iter().enumerate() {
        if roles[at] == Role::Mark {
            open = false;
        } else if let Some(word) = words.last_mut().filter(|_| open) {
            word.text.push(*char);
        } else {
            open = true;
            words.push(Placed {
                text: char.to_string(),
                start: at as u32,
                column: 0,
                bold: bold[at],
            });
        }
    }
    words
}

fn code_and_escapes(letters: &[char], roles: &mut [Role]) {
    let ticks = ticks(letters);
    let mut at = 0;
    while at < letters.len() {
        match letters[at] {
            '\\' if letters.get(at + 1).is_some_and(char::is_ascii_punctuation) => {
                // Inside a word the stroke stays: a word is one piece of the text.
                let inside = at > 0 && roles[at - 1] != Role::Mark;
                roles[at] = if inside { Role::Literal } else { Role::Mark };
                roles[at + 1] = Role::Literal;
                at += 2;
            }
            '`' => {
                let run = run_length(letters, at);
                let mut later = ticks.iter().filter(|(start, _)| *start >= at + run);
                let Some((close, _)) = later.find(|(_, length)| *length == run) else {
                    at += run;
                    continue;
                };
                roles[at..at + run].fill(Role::Mark);
                roles[*close..close + run].fill(Role::Mark);
                let inner = &mut roles[at + run..*close];
                inner
                    .iter_mut()
                    .filter(|role| **role == Role::Text)
                    .for_each(|role| {
                        *role = Role::Literal;
                    });
                at = close + run;
            }
            _ => at += 1,
        }
    }
}

/// Where runs of backticks begin and how long they are.
fn ticks(letters: &[char]) -> Vec<(usize, usize)> {
    let mut ticks = Vec::new();
    let mut at = 0;
    while at < letters.len() {
        let run = if letters[at] == '`' {
            let run = run_length(letters, at);
            ticks.push((at, run));
            run
        } else {
            1
        };
        at += run;
    }
    ticks
}

/// How often the character at `at` stands there in a row.
fn run_length(letters: &[char], at: usize) -> usize {
    let same = letters[at..]
        .iter()
        .take_while(|char| **char == letters[at]);
    same.count()
}

/// Of a link its words stay and its address goes, as on a printed page; tags go.
fn links_and_tags(letters: &[char], roles: &mut [Role]) {
    let rounds = next_of(letters, ')');
    let angles = next_of(letters, '>');
    let mut bracket: Option<usize> = None;
    for at in 0..letters.len() {
        if roles[at] != Role::Text {
            continue;
        }
        match letters[at] {
            '[' => bracket = Some(at),
            ']' if letters.get(at + 1) == Some(&'(') => {
                if let (Some(open), Some(close)) = (bracket.take(), rounds[at]) {
                    roles[at..=close].fill(Role::Mark);
                    roles[open] = Role::Mark;
                    if open > 0 && letters[open - 1] == '!' {
                        roles[open - 1] = Role::Mark;
                    }
                }
            }
            '<' => {
                if let Some(close) = angles[at].filter(|close| is_tag(&letters[at + 1..*close])) {
                    roles[at..=close].fill(Role::Mark);
                }
            }
            _ => {}
        }
    }
}

/// For each place the next place of a character.
fn next_of(letters: &[char], wanted: char) -> Vec<Option<usize>> {
    let mut next = vec![None; letters.len()];
    let mut last = None;
    for (at, char) in letters.iter().enumerate().rev() {
        if *char == wanted {
            last = Some(at);
        }
        next[at] = last;
    }
    next
}

fn is_tag(inner: &[char]) -> bool {
    const TAGS: [&str; 24] = [
        "a", "b", "br", "center", "code", "div", "em", "font", "h1", "h2", "h3", "hr", "i", "img",
        "p", "span", "strong", "sub", "sup", "table", "td", "th", "tr", "u",
    ];
    let inner = inner.strip_prefix(&['/']).unwrap_or(inner);
    if inner.starts_with(&['!', '-', '-']) {
        return true;
    }
    let name: String = inner
        .iter()
        .take_while(|char| char.is_ascii_alphanumeric())
        .take(8)
        .collect();
    TAGS.contains(&name.to_ascii_lowercase().as_str())
}

/// Strokes of emphasis: one of `*`, `_` or `~`, one to three times.
#[derive(Clone, Copy)]
struct Stroke {
    mark: char,
    at: usize,
    length: usize,
}

/// Marks the strokes of emphasis that stand at the edge of words; says which letters are bold.
fn emphasis(letters: &[char], roles: &mut [Role]) -> Vec<bool> {
    /// Emphasis is not nested deeper; what stood open before is text.
    const DEEPEST: usize = 16;
    let mut bold = vec![false; letters.len()];
    let mut open: Vec<Stroke> = Vec::new();
    let mut at = 0;
    while at < letters.len() {
        let mark = letters[at];
        if roles[at] != Role::Text || !matches!(mark, '*' | '_' | '~') {
            at += 1;
            continue;
        }
        let length = run_length(letters, at);
        let stroke = Stroke { mark, at, length };
        at += length;
        let Some((closes, opens)) = sides(letters, stroke) else {
            continue;
        };
        let same = |other: &Stroke| other.mark == mark && other.length == length;
        match open.iter().rposition(same).filter(|_| closes) {
            Some(index) => {
                let begin = open[index].at;
                roles[begin..begin + length].fill(Role::Mark);
                roles[stroke.at..at].fill(Role::Mark);
                if length >= 2 && mark != '~' {
                    bold[begin..at].fill(true);
                }
                open.truncate(index);
            }
            None if opens => {
                if open.len() == DEEPEST {
                    open.remove(0);
                }
                open.push(stroke);
            }
            // Strong text may have begun on another line.
            None if length >= 2 && mark == '*' => roles[stroke.at..at].fill(Role::Mark),
            None => {}
        }
    }
    for stroke in open {
        if stroke.mark == '*' && stroke.length >= 2 {
            roles[stroke.at..stroke.at + stroke.length].fill(Role::Mark);
        }
    }
    bold
}

/// Whether a stroke may close and may open emphasis, or `None` when it is plain text: alone,
/// inside a word, or a redacted passage `[***]`.
fn sides(letters: &[char], stroke: Stroke) -> Option<(bool, bool)> {
    let before = stroke.at.checked_sub(1).map(|at| letters[at]);
    let after = letters.get(stroke.at + stroke.length).copied();
    let is_text = |char: Option<char>| char.is_some_and(|char| !char.is_whitespace());
    let is_letter = |char: Option<char>| char.is_some_and(char::is_alphanumeric);
    let alone = !(is_text(before) || is_text(after));
    let plain = (is_letter(before) && is_letter(after))
        || (before == Some('[') && after == Some(']'))
        // Strong marks around nothing are marks still.
        || (alone && !(stroke.mark == '*' && stroke.length == 2))
        || stroke.length > 3
        || (stroke.mark == '~' && stroke.length != 2);
    (!plain).then_some((is_text(before), is_text(after)))
}

#[cfg(test)]
mod tests {
    use crate::document::text::read;
    use crate::domain::document::Page;

    fn page(text: &str) -> Page {
        let (_, mut pages) = read(text).unwrap();
        assert_eq!(pages.len(), 1);
        let page = pages.remove(0);
        for word in &page.words {
            assert_eq!(page.slice(word.start, word.end()), Some(word.text.as_str()));
        }
        page
    }

    fn words(text: &str) -> Vec<String> {
        // The heading makes every sample Markdown.
        let page = page(&format!("# x\n{text}"));
        page.words[1..]
            .iter()
            .map(|word| word.text.clone())
            .collect()
    }

    #[test]
    fn marks_are_no_words_and_offsets_stay_those_of_the_text() {
        assert_eq!(
            words("**Total**: *5* _EUR_ `A-1` ~~old~~"),
            ["Total", ":", "5", "EUR", "A-1", "old"]
        );
        assert_eq!(
            words("## Notes ##\n> quoted\n- item\n1. first\n***\n---"),
            ["Notes", "quoted", "item", "1.", "first"]
        );
        assert_eq!(
            words("[Acme](https://acme.test) ![logo](l.png) a<br>b <b>c</b>"),
            ["Acme", "logo", "a", "b", "c"]
        );
    }

    #[test]
    fn what_only_looks_like_a_mark_stays() {
        assert_eq!(
            words("5 * 3 ** ** = 15, snake_case_id, 2**3, [***], a < b > c"),
            [
                "5",
                "*",
                "3",
                "=",
                "15,",
                "snake_case_id,",
                "2**3,",
                "[***],",
                "a",
                "<",
                "b",
                ">",
                "c"
            ]
        );
        assert_eq!(
            words("\\$500 and \\*5\\* and `**x**`"),
            ["$500", "and", "*5\\*", "and", "**x**"]
        );
    }

    #[test]
    fn headings_and_strong_words_are_bold() {
        let page = page("# Invoice\n**Total due** 5 __EUR__");
        let bold: Vec<_> = page.words.iter().map(|word| word.bold).collect();
        assert_eq!(bold, [true, true, true, false, true]);
    }
}
