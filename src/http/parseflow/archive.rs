//! A few files in one: a ZIP archive whose files are stored as they are.
//!
//! Texts of one answer need no compression, and a reader of ZIP files takes stored ones. The format
//! is that of APPNOTE 6.3, without what files of 4 GiB and more need.

use crate::domain::error::{Code, Error};

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
/// 2.0, the least that readers ask for.
const VERSION: u16 = 20;
/// Names are UTF-8.
const FLAGS: u16 = 1 << 11;
/// 1980-01-01, the first day that the format can say: the same content gives the same bytes.
const DAY: u16 = 0x21;

/// An archive that is being written.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    count: u16,
}

impl Archive {
    /// Refused with `too_large` where the format has no room for it.
    pub fn add(&mut self, name: &str, content: &[u8]) -> Result<(), Error> {
        let at = number(self.bytes.len())?;
        let mut about = Vec::new();
        about.extend(VERSION.to_le_bytes());
        about.extend(FLAGS.to_le_bytes());
        // Stored, at midnight of that day.
        about.extend([0; 4]);
        about.extend(DAY.to_le_bytes());
        about.extend(crc32(content).to_le_bytes());
        let size = number(content.len())?.to_le_bytes();
        about.extend([size, size].concat());
        about.extend((name.len() as u16).to_le_bytes());
        about.extend([0; 2]);
        self.bytes.extend(LOCAL.to_le_bytes());
        self.bytes.extend(&about);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(content);
        self.directory.extend(CENTRAL.to_le_bytes());
        self.directory.extend(VERSION.to_le_bytes());
        self.directory.extend(about);
        // No comment, the first disk, no attributes.
        self.directory.extend([0; 10]);
        self.directory.extend(at.to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.count += 1;
        Ok(())
    }

    pub fn finish(mut self) -> Result<Vec<u8>, Error> {
        let (at, size) = (number(self.bytes.len())?, number(self.directory.len())?);
        self.bytes.append(&mut self.directory);
        self.bytes.extend(END.to_le_bytes());
        self.bytes.extend([0; 4]);
        let count = self.count.to_le_bytes();
        self.bytes.extend([count, count].concat());
        self.bytes.extend(size.to_le_bytes());
        self.bytes.extend(at.to_le_bytes());
        self.bytes.extend([0; 2]);
        Ok(self.bytes)
    }
}

fn number(length: usize) -> Result<u32, Error> {
    u32::try_from(length).map_err(|_| {
        let message = "The result is too large for a ZIP file. Ask for `json`.";
        Error::new(Code::TooLarge, message)
    })
}

/// CRC-32 of IEEE 802.3, as ZIP has it.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |rest: u32, _| {
        if rest & 1 == 1 {
            rest >> 1 ^ 0xedb8_8320
        } else {
            rest >> 1
        }
    };
    let sum = bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), step)
    });
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn an_archive_says_where_its_files_are() {
        let mut archive = Archive::default();
        archive.add("a.txt", b"alpha").unwrap();
        archive.add("b.txt", b"beta").unwrap();
        let bytes = archive.finish().unwrap();
        let end = &bytes[bytes.len() - 22..];
        assert_eq!(&end[..4], END.to_le_bytes());
        assert_eq!(end[10], 2);
        let directory = u32::from_le_bytes(end[16..20].try_into().unwrap()) as usize;
        assert_eq!(&bytes[directory..directory + 4], CENTRAL.to_le_bytes());
        let size = u32::from_le_bytes(end[12..16].try_into().unwrap()) as usize;
        assert_eq!(directory + size + 22, bytes.len());
    }
}
