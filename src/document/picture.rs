//! Pictures: one page without words, its size told by the file's own header.

use crate::domain::document::{Kind, Page};
use crate::domain::error::{Code, Error};

pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
pub const JPEG: &[u8] = b"\xff\xd8\xff";

/// Pixels along one side; models take no more, and no camera or scanner gives it.
const MOST_PIXELS: u32 = 30_000;

/// The page of a picture, a point for a pixel. The pixels themselves are not decoded.
pub fn read(kind: Kind, bytes: &[u8]) -> Result<Vec<Page>, Error> {
    let size = match kind {
        Kind::Png => png_size(bytes),
        _ => jpeg_size(bytes),
    };
    let (width, height) = size
        .filter(|(width, height)| *width > 0 && *height > 0)
        .ok_or_else(|| {
            Error::new(
                Code::DocumentCorrupt,
                "The file begins as a picture but its size cannot be read. Open it in an image \
                 viewer, save it again and upload the new file.",
            )
        })?;
    if width.max(height) > MOST_PIXELS {
        return Err(Error::new(
            Code::DocumentTooComplex,
            format!(
                "The picture has {width} x {height} pixels, the limit is {MOST_PIXELS} along a \
                 side. Make it smaller."
            ),
        ));
    }
    let (width, height) = (width as f32, height as f32);
    Ok(vec![Page::from_lines(1, width, height, vec![], vec![])])
}

/// Of the header chunk, which comes first.
fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let rest = bytes.strip_prefix(PNG)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let rest = rest.strip_prefix(b"IHDR")?;
    if u32::from_be_bytes(*length) != 13 {
        return None;
    }
    let (width, rest) = rest.split_first_chunk()?;
    let (height, _) = rest.split_first_chunk()?;
    Some((u32::from_be_bytes(*width), u32::from_be_bytes(*height)))
}

/// Of the frame header, which comes after segments that say their length.
fn jpeg_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut rest = bytes.strip_prefix(b"\xff\xd8")?;
    loop {
        let after = rest.strip_prefix(b"\xff")?;
        // A marker may have any number of fill bytes before it.
        let fill = after.iter().take_while(|byte| **byte == 0xff).count();
        let (marker, segment) = after.get(fill..)?.split_first()?;
        match marker {
            // Markers without a segment.
            0x01 | 0xd0..=0xd7 => rest = segment,
            // The pixels, or the end, without a frame before.
            0xd9 | 0xda => return None,
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                let (height, width) = (segment.get(3..5)?, segment.get(5..7)?);
                let number =
                    |pair: &[u8]| Some(u32::from(u16::from_be_bytes(pair.try_into().ok()?)));
                return Some((number(width)?, number(height)?));
            }
            _ => {
                let (length, _) = segment.split_first_chunk()?;
                rest = segment.get(usize::from(u16::from_be_bytes(*length))..)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
        [PNG, b"\0\0\0\x0dIHDR", &size, b"\x08\x02\0\0\0"].concat()
    }

    const PHOTO: &[u8] =
        b"\xff\xd8\xff\xe0\0\x07JFIF\0\xff\xff\xc4\0\x03\0\xff\xc2\0\x11\x08\x01\x02\x03\x04\x03";

    #[test]
    fn a_picture_is_one_page_of_its_size_without_words() {
        let page = &read(Kind::Png, &png(640, 480)).unwrap()[0];
        assert_eq!(
            (page.width, page.height, page.words.len()),
            (640.0, 480.0, 0)
        );
        let page = &read(Kind::Jpeg, PHOTO).unwrap()[0];
        assert_eq!((page.width, page.height), (772.0, 258.0));
    }

    #[test]
    fn a_picture_without_a_size_is_corrupt() {
        let cut = |to: usize| PHOTO[..to].to_vec();
        for (kind, bytes) in [
            (Kind::Png, PNG.to_vec()),
            (Kind::Png, png(0, 5)),
            (Kind::Jpeg, JPEG.to_vec()),
            (Kind::Jpeg, cut(PHOTO.len() - 3)),
            (Kind::Jpeg, b"\xff\xd8\xff\xe0\0\0".to_vec()),
            (Kind::Jpeg, b"\xff\xd8\xff\xd9".to_vec()),
        ] {
            let error = read(kind, &bytes).unwrap_err();
            assert_eq!(error.code, Code::DocumentCorrupt, "{bytes:?}");
        }
        let large = read(Kind::Png, &png(30_001, 2)).unwrap_err();
        assert_eq!(large.code, Code::DocumentTooComplex);
    }
}
