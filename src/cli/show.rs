//! The one place that writes for people: lines, and a progress bar below them.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

#[derive(Debug, Clone, Copy)]
enum Stream {
    Out,
    Err,
}

/// Writes lines to one of the standard streams. A reader that has gone away is no fault.
#[derive(Debug)]
pub struct Show {
    stream: Stream,
    bar: ProgressBar,
    has_colours: bool,
}

impl Show {
    pub fn stdout() -> Self {
        Self::on(Stream::Out, io::stdout().is_terminal())
    }

    pub fn stderr() -> Self {
        Self::on(Stream::Err, io::stderr().is_terminal())
    }

    fn on(stream: Stream, is_terminal: bool) -> Self {
        let wants_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            stream,
            bar: ProgressBar::hidden(),
            has_colours: is_terminal && !wants_plain,
        }
    }

    /// Begins a bar of `length` parts below the lines. Only where stderr is a terminal: elsewhere
    /// the lines have to do.
    pub fn begin_bar(&mut self, length: u64) -> io::Result<()> {
        let shape = "  {bar:32} {pos} of {len} subtrees";
        let style = ProgressStyle::with_template(shape).map_err(io::Error::other)?;
        self.bar.finish_and_clear();
        self.bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        self.bar.set_style(style.progress_chars("━╸─"));
        self.bar.tick();
        Ok(())
    }

    pub fn advance_bar(&self) {
        self.bar.inc(1);
    }

    pub fn end_bar(&self) {
        self.bar.finish_and_clear();
    }

    /// Writes a line and sends it on its way at once.
    pub fn line(&self, line: impl Display) -> io::Result<()> {
        let written = self.bar.suspend(|| match self.stream {
            Stream::Out => write_line(&mut io::stdout().lock(), &line),
            Stream::Err => write_line(&mut io::stderr().lock(), &line),
        });
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    pub fn bold(&self, text: &str) -> String {
        self.coloured("1", text)
    }

    pub fn faint(&self, text: &str) -> String {
        self.coloured("2", text)
    }

    pub fn alarming(&self, text: &str) -> String {
        self.coloured("31", text)
    }

    fn coloured(&self, code: &str, text: &str) -> String {
        if self.has_colours {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        self.end_bar();
    }
}

fn write_line(stream: &mut impl Write, line: &dyn Display) -> io::Result<()> {
    writeln!(stream, "{line}")?;
    stream.flush()
}

/// Text of a document on one line, cut after `most` characters. Control characters are taken out:
/// a document must not steer the terminal.
pub fn tame(text: &str, most: usize) -> String {
    let is_steering = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let plain: String = text
        .chars()
        .map(|c| {
            if c.is_whitespace() || is_steering(c) {
                ' '
            } else {
                c
            }
        })
        .collect();
    let words = plain
        .split(' ')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    if words.chars().count() <= most {
        return words;
    }
    let cut: String = words.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", cut.trim_end())
}

/// `1 field`, `2 fields`.
pub fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_cannot_steer_the_terminal() {
        assert_eq!(tame("a\u{1b}[31m\nb\u{9b}2J\u{202e}c", 80), "a [31m b 2J c");
    }

    #[test]
    fn long_text_is_cut_by_characters() {
        assert_eq!(tame("Größe über alles", 8), "Größe ü…");
        assert_eq!(tame("Größe üb", 8), "Größe üb");
    }
}
