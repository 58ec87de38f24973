//! Documents that go to a model as they are: which form it is, and how much a model takes of it.

use serde::{Deserialize, Serialize};

use super::document::{DocumentInput, Kind};
use super::error::{Code, Error};

/// What a model takes of files and pictures, in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of the request, in which three bytes of a file are written as four.
    pub request_bytes: u64,
    pub pictures: u32,
    /// Bytes of one picture.
    pub picture_bytes: u64,
    pub pdf_pages: u32,
}

/// What a model takes.
#[derive(Debug, Clone, Copy)]
pub struct Taken<'a> {
    /// As clients call it.
    pub model: &'a str,
    /// Without [`DocumentInput::Auto`].
    pub inputs: &'a [DocumentInput],
    pub limits: Option<Limits>,
}

/// A document, as far as it matters for how it is sent.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    pub kind: Kind,
    pub bytes: u64,
    pub pages: u32,
}

/// The order of [`DocumentInput::Auto`]: text is read best and costs least, and what stands in a
/// PDF beside its pictures is lost in pictures of its pages.
const PREFERRED: [DocumentInput; 3] = [
    DocumentInput::Text,
    DocumentInput::Native,
    DocumentInput::Pages,
];

/// The same where text is not all of it: words in pictures would be lost without a word.
const SEEN: [DocumentInput; 3] = [
    DocumentInput::Native,
    DocumentInput::Pages,
    DocumentInput::Text,
];

/// The form in which the document is sent, never [`DocumentInput::Auto`].
///
/// Errors carry `invalid_config` where the form that was asked for is not possible, and
/// `document_without_text` where none is.
pub fn choose(
    wish: DocumentInput,
    document: Measure,
    taken: &Taken<'_>,
) -> Result<DocumentInput, Error> {
    let order = match document.kind {
        Kind::Mixed => SEEN,
        _ => PREFERRED,
    };
    let possible: Vec<_> = order
        .into_iter()
        .filter(|form| obstacle(*form, document, taken).is_none())
        .collect();
    if wish == DocumentInput::Auto {
        let first = possible.first().copied();
        return first.ok_or_else(|| unreadable(document, taken));
    }
    match obstacle(wish, document, taken) {
        None => Ok(wish),
        Some(reason) => Err(impossible(wish, &reason, &possible, taken)),
    }
}

/// Why the document cannot be sent in this form.
fn obstacle(form: DocumentInput, document: Measure, taken: &Taken<'_>) -> Option<String> {
    let Measure { kind, pages, bytes } = document;
    let unfit = match form {
        DocumentInput::Text if !kind.has_text() => Some("the document has no text"),
        DocumentInput::Native if kind.is_picture() => Some("a picture is sent as `pages`"),
        DocumentInput::Native if kind.media_type() != Kind::Pdf.media_type() => {
            Some("the document is no PDF")
        }
        DocumentInput::Pages if !kind.is_printed() => Some("a text has no pages to be seen"),
        _ => None,
    };
    if let Some(reason) = unfit {
        return Some(reason.to_owned());
    }
    if !taken.inputs.contains(&form) {
        return Some(format!(
            "the model `{}` takes {}",
            taken.model,
            named(taken.inputs)
        ));
    }
    let limits = taken.limits.filter(|_| form != DocumentInput::Text)?;
    let encoded = bytes.div_ceil(3).saturating_mul(4);
    let over = |what: &str, size: u64, limit: u64| {
        (size > limit).then(|| {
            format!(
                "it is {size} {what}, and the model `{}` takes {limit}",
                taken.model
            )
        })
    };
    match form {
        DocumentInput::Native => over("pages", pages.into(), limits.pdf_pages.into())
            .or_else(|| over("bytes in a request", encoded, limits.request_bytes)),
        _ if kind.is_picture() => over("bytes", bytes, limits.picture_bytes)
            .or_else(|| over("bytes in a request", encoded, limits.request_bytes)),
        // How large its pages are as pictures is known when they are drawn.
        _ => over("pages", pages.into(), limits.pictures.into()),
    }
}

fn impossible(
    wish: DocumentInput,
    reason: &str,
    possible: &[DocumentInput],
    taken: &Taken<'_>,
) -> Error {
    let mut allowed = possible.to_vec();
    if !possible.is_empty() {
        allowed.push(DocumentInput::Auto);
    }
    let next = if allowed.is_empty() {
        "No other form is possible with it either: name another model, such as GET \
         /v1/extract/models lists with their `document_inputs`."
            .to_owned()
    } else {
        format!("With this document and this model: {}.", named(&allowed))
    };
    let message = format!(
        "`{}` is not allowed with the model `{}`: {reason}. {next}",
        wish.name(),
        taken.model
    );
    Error::new(
        Code::InvalidConfig,
        format!("`/config/document_input`: {message}"),
    )
    .at("/config/document_input", message)
}

fn unreadable(document: Measure, taken: &Taken<'_>) -> Error {
    let reasons: Vec<_> = PREFERRED
        .into_iter()
        .filter_map(|form| Some((form, obstacle(form, document, taken)?)))
        .map(|(form, reason)| format!("not as `{}`, since {reason}", form.name()))
        .collect();
    let wanted = if document.kind.is_picture() {
        "`pages`"
    } else {
        "`native` or `pages`"
    };
    Error::new(
        Code::DocumentWithoutText,
        format!(
            "The model `{}` cannot be given this document: {}. Name a model that has {wanted} among \
             its `document_inputs` in GET /v1/extract/models, or run OCR on the file first and \
             upload the searchable PDF; OCR is not built in.",
            taken.model,
            reasons.join("; "),
        ),
    )
}

fn named(inputs: &[DocumentInput]) -> String {
    let names: Vec<_> = inputs
        .iter()
        .map(|input| format!("`{}`", input.name()))
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use DocumentInput::{Auto, Native, Pages, Text};

    const LIMITS: Limits = Limits {
        request_bytes: 1_200,
        pictures: 2,
        picture_bytes: 600,
        pdf_pages: 10,
    };

    fn chosen(
        wish: DocumentInput,
        kind: Kind,
        inputs: &[DocumentInput],
    ) -> Result<DocumentInput, Error> {
        sized(wish, kind, inputs, 300, 1)
    }

    fn sized(
        wish: DocumentInput,
        kind: Kind,
        inputs: &[DocumentInput],
        bytes: u64,
        pages: u32,
    ) -> Result<DocumentInput, Error> {
        let document = Measure { kind, bytes, pages };
        let taken = Taken {
            model: "m",
            inputs,
            limits: Some(LIMITS),
        };
        choose(wish, document, &taken)
    }

    #[test]
    fn the_form_is_text_where_there_is_text_and_else_what_the_model_takes() {
        let all = [Text, Pages, Native];
        for (kind, form) in [
            (Kind::Pdf, Text),
            (Kind::Text, Text),
            (Kind::Markdown, Text),
            (Kind::Scan, Native),
            (Kind::Png, Pages),
            (Kind::Jpeg, Pages),
        ] {
            assert_eq!(chosen(Auto, kind, &all).unwrap(), form, "{kind:?}");
        }
        assert_eq!(chosen(Native, Kind::Pdf, &all).unwrap(), Native);
        for (inputs, form) in [(&all[..], Native), (&[Text, Pages], Pages), (&[Text], Text)] {
            assert_eq!(chosen(Auto, Kind::Mixed, inputs).unwrap(), form);
        }
        assert_eq!(chosen(Text, Kind::Mixed, &all).unwrap(), Text);
    }

    #[test]
    fn a_form_that_is_not_possible_is_refused_with_those_that_are() {
        for (wish, kind, inputs, says) in [
            (
                Native,
                Kind::Pdf,
                &[Text][..],
                "the model `m` takes `text`. With this document and this model: `text`, `auto`.",
            ),
            (
                Text,
                Kind::Scan,
                &[Text, Native],
                "the document has no text. With this document and this model: `native`, `auto`.",
            ),
            (
                Native,
                Kind::Scan,
                &[Text, Pages],
                "takes `text`, `pages`. With this document and this model: `pages`, `auto`.",
            ),
            (Native, Kind::Text, &[Text, Native], "is no PDF"),
            (Native, Kind::Png, &[Text, Pages, Native], "as `pages`"),
            (Pages, Kind::Markdown, &[Text, Pages], "a text has no pages"),
            (Pages, Kind::Png, &[Text], "name another model"),
        ] {
            let error = chosen(wish, kind, inputs).unwrap_err();
            assert_eq!(error.code, Code::InvalidConfig);
            assert_eq!(error.errors[0].pointer, "/config/document_input");
            assert!(error.detail.contains(says), "{error}");
        }
    }

    #[test]
    fn a_document_that_no_form_fits_says_why_and_what_would_read_it() {
        let error = chosen(Auto, Kind::Scan, &[Text]).unwrap_err();
        assert_eq!(error.code, Code::DocumentWithoutText);
        for says in [
            "has no text",
            "takes `text`",
            "has `native` or `pages` among",
            "OCR",
        ] {
            assert!(error.detail.contains(says), "{says}: {error}");
        }
    }

    #[test]
    fn what_is_larger_than_the_model_takes_is_refused_by_its_size() {
        let all = [Text, Pages, Native];
        for (wish, kind, bytes, pages, says) in [
            (
                Auto,
                Kind::Scan,
                300,
                11,
                "as `native`, since it is 11 pages, and the model `m` takes 10",
            ),
            (
                Auto,
                Kind::Scan,
                300,
                11,
                "as `pages`, since it is 11 pages, and the model `m` takes 2",
            ),
            (
                Native,
                Kind::Scan,
                901,
                1,
                "it is 1204 bytes in a request, and the model `m` takes 1200",
            ),
            (
                Auto,
                Kind::Png,
                601,
                1,
                "it is 601 bytes, and the model `m` takes 600",
            ),
        ] {
            let error = sized(wish, kind, &all, bytes, pages).unwrap_err();
            assert!(error.detail.contains(says), "{error}");
        }
        assert_eq!(sized(Auto, Kind::Scan, &all, 901, 1).unwrap(), Pages);
        assert_eq!(sized(Auto, Kind::Scan, &all, 900, 10).unwrap(), Native);
        assert_eq!(sized(Auto, Kind::Mixed, &all, 901, 1).unwrap(), Pages);
        assert_eq!(sized(Auto, Kind::Mixed, &all, 901, 3).unwrap(), Text);
        // As text it is not sent as it is.
        assert_eq!(sized(Auto, Kind::Pdf, &all, 9_000, 90).unwrap(), Text);
    }
}
