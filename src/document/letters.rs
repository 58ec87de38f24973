//! Code points as fonts give them to code points as people search them.

/// What a drawn code point reads as: ligatures in letters, all kinds of spaces and hyphens as
/// the plain one, nothing for what has no shape.
pub fn plain(char: char) -> Letters {
    let text = match char {
        '\u{fb00}' => "ff",
        '\u{fb01}' => "fi",
        '\u{fb02}' => "fl",
        '\u{fb03}' => "ffi",
        '\u{fb04}' => "ffl",
        '\u{fb05}' | '\u{fb06}' => "st",
        // Fonts of word processors keep their bullets in the private use area.
        '\u{f0b7}' => "•",
        '\u{f0a7}' => "▪",
        // A soft hyphen that is drawn is a hyphen.
        '\u{ad}' | '\u{2010}' | '\u{2011}' => "-",
        '\t'
        | '\n'
        | '\r'
        | '\u{a0}'
        | '\u{1680}'
        | '\u{2000}'..='\u{200a}'
        | '\u{2028}'
        | '\u{2029}'
        | '\u{202f}'
        | '\u{205f}'
        | '\u{3000}'
        | '\u{f020}' => " ",
        '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}'
        | '\u{feff}' => "",
        other if other.is_control() => "",
        other => return Letters::One(Some(other)),
    };
    Letters::Several(text.chars())
}

/// Zero to three letters.
#[derive(Debug, Clone)]
pub enum Letters {
    One(Option<char>),
    Several(std::str::Chars<'static>),
}

impl Iterator for Letters {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        match self {
            Self::One(one) => one.take(),
            Self::Several(chars) => chars.next(),
        }
    }
}
