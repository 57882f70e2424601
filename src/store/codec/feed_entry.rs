//! The numbers in the log of changes: small ones are short.

/// Adds a number: its sign in the lowest bit, seven bits to a byte.
pub fn write(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(low_bits(rest) | 0x80);
        rest >>= 7;
    }
    out.push(low_bits(rest));
}

fn low_bits(number: u64) -> u8 {
    number.to_le_bytes()[0] & 0x7f
}

/// Takes a number from the front of `bytes`; none if they end before it does.
pub fn read(bytes: &mut &[u8]) -> Option<i64> {
    let (mut number, mut shift) = (0_u64, 0);
    loop {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()));
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(numbers in prop::collection::vec(any::<i64>(), 0..20)) {
            let mut bytes = Vec::new();
            numbers.iter().for_each(|number| write(&mut bytes, *number));
            let mut rest = bytes.as_slice();
            for number in numbers {
                prop_assert_eq!(read(&mut rest), Some(number));
            }
            prop_assert!(rest.is_empty());
            prop_assert_eq!(read(&mut rest), None);
        }
    }

    #[test]
    fn neighbours_take_a_byte_and_what_has_no_end_is_no_number() {
        for (number, length) in [(0, 1), (1, 1), (-1, 1), (63, 1), (-64, 1), (64, 2), (8_000, 2)] {
            let mut bytes = Vec::new();
            write(&mut bytes, number);
            assert_eq!(bytes.len(), length, "{number}");
        }
        assert_eq!(read(&mut [0xff; 30].as_slice()), None);
        assert_eq!(read(&mut [0x80].as_slice()), None);
    }
}
