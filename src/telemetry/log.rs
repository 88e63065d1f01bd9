//! Log lines to stderr: for people, or as JSON for collectors.
//!
//! Whatever is logged, an entry is one line, and shows what steers or hides instead of doing it.
//!
//! Set up once, by `serve`. The other commands print their results and log nothing.

use super::text::steers;
use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, IsTerminal, Write},
};
use tracing_subscriber::{EnvFilter, Layer, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt};

/// The two shapes of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Human,
    Json,
}

/// Why no log lines will be written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("`{0}` is not a log filter")]
    Filter(String, #[source] tracing_subscriber::filter::ParseError),
    #[error("log lines have a destination already")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sends this process's log lines to stderr. `filter` is tracing's syntax: `info`, `info,nightshift::driver=debug`.
/// Colours only at a terminal and without `no_color`. A second call is an error.
pub fn start(format: Format, filter: &str, no_color: bool) -> Result<(), LogError> {
    let colours = !no_color && std::io::stderr().is_terminal();
    let layer = layer(format, colours, std::io::stderr);
    tracing_subscriber::registry().with(layer.with_filter(filtered(filter)?)).try_init().map_err(LogError::Twice)
}

fn filtered(filter: &str) -> Result<EnvFilter, LogError> {
    let refused = |error| LogError::Filter(filter.to_owned(), error);
    let written = EnvFilter::builder().parse(filter).map_err(refused)?;
    // At `trace` it shows every message whole: what people typed, and where they can be answered.
    Ok(written.add_directive("tungstenite=debug".parse().map_err(refused)?))
}

fn layer<W>(format: Format, colours: bool, writer: W) -> Box<dyn Layer<tracing_subscriber::Registry> + Send + Sync>
where
    W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let writer = OneLine { writer, format, colours };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_target(true);
    match format {
        Format::Human => lines.with_ansi(colours).boxed(),
        Format::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
    }
}

/// Writes each entry on one line: a line break inside of it (an error's hint, a text from outside) is shown as `\n`, so
/// that nothing logged looks like an entry of its own; so are characters that steer a terminal or hide. Where there are
/// colours, colours are left.
struct OneLine<W> {
    writer: W,
    format: Format,
    colours: bool,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for OneLine<W> {
    type Writer = OneLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine { writer: self.writer.make_writer(), format: self.format, colours: self.colours }
    }
}

impl<W: Write> Write for OneLine<W> {
    /// `entry` is whole: the formatter gives each in one piece.
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        let inside = entry.strip_suffix(b"\n").unwrap_or(entry);
        match shown(&String::from_utf8_lossy(inside), self.format, self.colours) {
            Cow::Owned(text) => self.writer.write_all(format!("{text}\n").as_bytes())?,
            Cow::Borrowed(_) => self.writer.write_all(entry)?,
        }
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn is_active(character: char) -> bool {
    steers(character) || character.is_control()
}

/// `ESC [ 31 m`: it changes how text looks, and no more.
fn is_colour(text: &str) -> bool {
    let rest = text.strip_prefix("\u{1b}[").unwrap_or_default();
    rest.trim_start_matches(|next: char| next.is_ascii_digit() || next == ';').starts_with('m')
}

/// Borrowed: there is nothing to escape. JSON has its own way to write them, and they stand in its strings only.
fn shown(text: &str, format: Format, colours: bool) -> Cow<'_, str> {
    if !text.contains(is_active) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for (at, character) in text.char_indices() {
        match format {
            _ if colours && is_colour(text.get(at..).unwrap_or_default()) => shown.push(character),
            _ if !is_active(character) => shown.push(character),
            _ if character == '\n' => shown.push_str("\\n"),
            Format::Human => shown.extend(character.escape_unicode()),
            Format::Json => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(shown, "\\u{unit:04x}");
                }
            }
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(format: Format, filter: &str, work: impl FnOnce()) -> String {
        let sink = Sink::default();
        let target = sink.clone();
        let layer = layer(format, false, move || target.clone()).with_filter(filtered(filter).unwrap());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_json_line_is_one_object_with_its_fields() {
        let text = written(Format::Json, "info", || tracing::info!(incident = 7, rule = "a\nb", "opened"));
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["level"], &line["incident"]), (&"INFO".into(), &7.into()));
        assert_eq!((&line["message"], &line["rule"]), (&"opened".into(), &"a\nb".into()));
    }

    #[test]
    fn the_filter_keeps_what_it_names() {
        let both = || {
            tracing::debug!("quiet");
            tracing::warn!("loud");
        };
        let text = written(Format::Human, "info", both);
        assert!(text.contains("loud") && !text.contains("quiet"), "{text}");
        assert!(written(Format::Human, "info,nightshift::telemetry=debug", both).contains("quiet"));
    }

    #[test]
    fn a_terminal_is_not_steered_by_what_is_logged() {
        let text = written(Format::Human, "info", || tracing::info!(label = "\u{1b}[2J", "seen {}", "\u{1b}[31m"));
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn an_entry_is_one_line_whatever_it_holds() {
        for format in [Format::Human, Format::Json] {
            let forged = "what\nINFO nightshift: all is well";
            let text = written(format, "info", || tracing::info!(why = %forged, "{forged}"));
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert!(text.contains("what\\nINFO") && text.ends_with('\n'), "{text:?}");
        }
    }

    #[test]
    fn whatever_a_label_holds_its_line_shows_nothing_that_steers_or_hides() {
        use crate::notify::slack::tests_support::{corpus::corpus, judge};
        for format in [Format::Human, Format::Json] {
            for text in corpus() {
                let line =
                    written(format, "info", || tracing::info!(title = text.as_str(), why = %text, "seen {text}"));
                let line = line.strip_suffix('\n').unwrap();
                assert!(!line.contains('\n'), "{line:?}");
                judge::unseen(line).unwrap_or_else(|wrong| panic!("{format:?}: {wrong}"));
                if format == Format::Json {
                    let read: serde_json::Value = serde_json::from_str(line).unwrap();
                    assert_eq!((&read["title"], &read["why"]), (&text.as_str().into(), &text.as_str().into()));
                }
            }
        }
    }

    #[test]
    fn a_bad_filter_is_refused() {
        assert!(matches!(filtered("nightshift=loud"), Err(LogError::Filter(..))));
    }
}
