//! Which form of an answer a client prefers: `Accept` (RFC 9110, 12.5.1).

/// How much a client wants a media type: thousandths, and then how exactly it was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Wish {
    quality: u16,
    precision: u8,
}

/// The media type of `offered` that `accept` wants most, the first of several alike; `None` when
/// it takes none of them. A header that names nothing takes everything.
pub fn choose<'a>(accept: &str, offered: &[&'a str]) -> Option<&'a str> {
    let mut ranges = accept.split(',').map(str::trim);
    if ranges.all(str::is_empty) {
        return offered.first().copied();
    }
    let mut best: Option<(Wish, &str)> = None;
    for name in offered {
        let Some(wish) = wish(accept, name) else {
            continue;
        };
        if best.is_none_or(|(other, _)| wish > other) {
            best = Some((wish, name));
        }
    }
    best.map(|(_, name)| name)
}

/// The most exact range that fits decides, however much the others want.
fn wish(accept: &str, offered: &str) -> Option<Wish> {
    let fitting = accept.split(',').filter_map(|range| {
        let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
        Some((precision(name.trim(), offered)?, quality(parameters)))
    });
    let (precision, quality) = fitting.max()?;
    (quality > 0).then_some(Wish { quality, precision })
}

fn precision(range: &str, offered: &str) -> Option<u8> {
    let whole = offered.split('/').next().unwrap_or(offered);
    let group = range.strip_suffix("/*").unwrap_or_default();
    if range.eq_ignore_ascii_case(offered) {
        Some(2)
    } else if group.eq_ignore_ascii_case(whole) {
        Some(1)
    } else {
        (range == "*/*").then_some(0)
    }
}

/// Thousandths; all of it where no weight is given or it cannot be read.
fn quality(parameters: &str) -> u16 {
    let mut weights = parameters.split(';').filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let weight: f32 = value.trim().parse().ok()?;
        (name.trim().eq_ignore_ascii_case("q") && weight.is_finite()).then_some(weight)
    });
    let weight = weights.next_back().unwrap_or(1.0);
    (weight.clamp(0.0, 1.0) * 1_000.0).round() as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "text/event-stream";
    const JSON: &str = "application/json";

    #[test]
    fn the_wanted_form_is_chosen_and_a_stream_where_it_is_all_the_same() {
        for (accept, expected) in [
            ("", Some(STREAM)),
            (" , ", Some(STREAM)),
            ("*/*", Some(STREAM)),
            ("text/*", Some(STREAM)),
            ("Text/Event-Stream; charset=utf-8", Some(STREAM)),
            ("text/event-stream, application/json", Some(STREAM)),
            ("application/json, text/event-stream", Some(STREAM)),
            ("application/json", Some(JSON)),
            ("application/*", Some(JSON)),
            ("APPLICATION/JSON;charset=utf-8", Some(JSON)),
            ("application/json, text/event-stream;q=0.9", Some(JSON)),
            ("application/json;q=0.2, text/*;q=0.3", Some(STREAM)),
            // As a well-known client sends: what is named goes before what is only not excluded.
            ("application/json, text/plain, */*", Some(JSON)),
            ("application/json;q=0.5, */*", Some(STREAM)),
            ("*/*, text/event-stream;q=0", Some(JSON)),
            ("text/event-stream;q=0, text/*", None),
            ("text/event-stream;q=0.000", None),
            ("application/json;q=x", Some(JSON)),
            ("application/json;q=0.1;q=NaN, text/*;q=0.05", Some(JSON)),
            ("image/png, application/xml", None),
            ("application/jsonp, text", None),
            ("/", None),
        ] {
            assert_eq!(choose(accept, &[STREAM, JSON]), expected, "{accept:?}");
        }
    }
}
