//! SQLite's log of commits, read as a file: whether what must be in it is whole.
//!
//! SQLite itself takes a log up to its first frame that is not whole, and forgets the rest without a word. The format:
//! <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
/// The header begins so; its last bit says in which order of bytes the sums are.
const MAGIC: u32 = 0x377f_0682;
const SALTS_AT: u64 = 16;
const PAGE_BYTES_MAX: usize = 65_536;

/// Two random numbers that a log has for as long as it is not begun anew.
pub type Salts = [u8; 8];

/// The salts of the log that is open as `file`; none if it has not begun.
pub fn salts(file: &File) -> io::Result<Option<Salts>> {
    let mut salts = Salts::default();
    match file.read_exact_at(&mut salts, SALTS_AT) {
        Ok(()) => Ok(Some(salts)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// How many of the first `frames` frames are whole, up to the first that is not. None if there is no log with these
/// salts: it has been begun anew, or the last server took it into the database.
pub fn whole_frames(path: &Path, of: Salts, frames: u32) -> io::Result<Option<u32>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if salts(&file)? != Some(of) {
        return Ok(None);
    }
    let mut log = BufReader::with_capacity(1 << 18, file);
    let mut header = [0; HEADER_BYTES];
    if !filled(&mut log, &mut header)? {
        return Ok(Some(0));
    }
    let mut sums = Sums::of_order(word(&header, 0, true));
    sums.add(&header[..24]);
    let page_bytes = word(&header, 8, true) as usize;
    if word(&header, 0, true) | 1 != MAGIC | 1
        || !sums.are(&header[24..])
        || page_bytes > PAGE_BYTES_MAX
    {
        return Ok(Some(0));
    }
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes];
    for number in 0..frames {
        let is_whole = filled(&mut log, &mut frame)? && frame[8..16] == of && {
            sums.add(&frame[..8]);
            sums.add(&frame[FRAME_HEADER_BYTES..]);
            sums.are(&frame[16..FRAME_HEADER_BYTES])
        };
        if !is_whole {
            return Ok(Some(number));
        }
    }
    Ok(Some(frames))
}

/// False if the file ends before.
fn filled(log: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The running sums over everything from the header on.
struct Sums {
    is_big_endian: bool,
    sums: (u32, u32),
}

impl Sums {
    fn of_order(magic: u32) -> Self {
        Self { is_big_endian: magic & 1 == 1, sums: (0, 0) }
    }

    fn add(&mut self, bytes: &[u8]) {
        let (mut first, mut second) = self.sums;
        for pair in bytes.chunks_exact(8) {
            first = first.wrapping_add(word(pair, 0, self.is_big_endian)).wrapping_add(second);
            second = second.wrapping_add(word(pair, 4, self.is_big_endian)).wrapping_add(first);
        }
        self.sums = (first, second);
    }

    /// The sums themselves are written with the most significant byte first.
    fn are(&self, bytes: &[u8]) -> bool {
        self.sums == (word(bytes, 0, true), word(bytes, 4, true))
    }
}

fn word(bytes: &[u8], at: usize, is_big_endian: bool) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).unwrap_or_default();
    if is_big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
}
