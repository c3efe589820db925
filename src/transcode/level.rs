//! H.264 levels: the least one whose limits hold a size, a frame rate and a bit rate (ITU-T H.264, Table A-1). `policy`
//! asks for every rung it chooses.

/// The least level, times ten, for pictures of this size in pixels, so many of them a second and so many bits a second in
/// Main profile. None where even level 6.2 is too little.
pub(super) fn least(width: u32, height: u32, frame_rate: f64, bitrate: u64) -> Option<u8> {
    let (across, down) = (u64::from(width.div_ceil(16)), u64::from(height.div_ceil(16)));
    let blocks = across * down;
    // Whole, because a measured rate of 30.01 would lift 720p out of level 3.1.
    let blocks_a_second = blocks * frame_rate.round().max(1.0) as u64;
    let holds = |level: &&Level| {
        // Section A.3.1: neither side is longer than the square root of eight times MaxFS.
        let longest = across.max(down);
        blocks <= level.blocks
            && longest * longest <= level.blocks * 8
            && blocks_a_second <= level.blocks_a_second
            && bitrate <= level.kilobits * 1_000
    };
    LEVELS.iter().find(holds).map(|level| level.number)
}

/// RFC 6381 codec string of Main profile at a level times ten: `avc1.4d401f` is level 3.1. The 40 is
/// constraint_set1_flag: Main profile's tools and no more.
pub(super) fn main_profile(level: u8) -> String {
    format!("avc1.4d40{level:02x}")
}

struct Level {
    /// Times ten.
    number: u8,
    /// MaxMBPS.
    blocks_a_second: u64,
    /// MaxFS.
    blocks: u64,
    /// MaxBR, in 1000 bit/s for Main profile.
    kilobits: u64,
}

const fn level(number: u8, blocks_a_second: u64, blocks: u64, kilobits: u64) -> Level {
    Level { number, blocks_a_second, blocks, kilobits }
}

/// Without 1b, which is told from 1.1 by a flag.
const LEVELS: [Level; 19] = [
    level(10, 1_485, 99, 64),
    level(11, 3_000, 396, 192),
    level(12, 6_000, 396, 384),
    level(13, 11_880, 396, 768),
    level(20, 11_880, 396, 2_000),
    level(21, 19_800, 792, 4_000),
    level(22, 20_250, 1_620, 4_000),
    level(30, 40_500, 1_620, 10_000),
    level(31, 108_000, 3_600, 14_000),
    level(32, 216_000, 5_120, 20_000),
    level(40, 245_760, 8_192, 20_000),
    level(41, 245_760, 8_192, 50_000),
    level(42, 522_240, 8_704, 50_000),
    level(50, 589_824, 22_080, 135_000),
    level(51, 983_040, 36_864, 240_000),
    level(52, 2_073_600, 36_864, 240_000),
    level(60, 4_177_920, 139_264, 240_000),
    level(61, 8_355_840, 139_264, 480_000),
    level(62, 16_711_680, 139_264, 800_000),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_sizes_have_their_usual_levels() {
        for (width, height, frame_rate, kilobits, level) in [
            (176, 144, 15.0, 64, 10),
            (640, 360, 30.0, 800, 30),
            (854, 480, 30.0, 1_400, 31),
            (1_280, 720, 29.97, 3_000, 31),
            (1_280, 720, 30.3, 3_000, 31),
            (1_280, 720, 60.0, 4_500, 32),
            (720, 1_280, 30.0, 3_000, 31),
            (1_920, 1_080, 30.0, 6_000, 40),
            (1_920, 1_080, 30.0, 24_000, 41),
            (1_920, 1_080, 60.0, 9_000, 42),
            (3_840, 2_160, 30.0, 18_000, 51),
            (3_840, 2_160, 60.0, 27_000, 52),
            (7_680, 4_320, 60.0, 80_000, 61),
        ] {
            assert_eq!(
                least(width, height, frame_rate, kilobits * 1_000),
                Some(level),
                "{width}x{height} {frame_rate}"
            );
        }
    }

    #[test]
    fn long_and_huge_pictures_need_more_or_have_none() {
        // 256 macroblocks across are just the square root of eight times level 4's 8,192.
        assert_eq!(least(4_096, 64, 30.0, 100_000), Some(40));
        assert_eq!(least(4_112, 64, 30.0, 100_000), Some(42));
        assert_eq!(least(16_384, 16_384, 1.0, 100_000), None);
        assert_eq!(least(7_680, 4_320, 240.0, 100_000), None);
    }

    #[test]
    fn codec_strings_have_the_level_in_hexadecimal() {
        assert_eq!(main_profile(31), "avc1.4d401f");
        assert_eq!(main_profile(10), "avc1.4d400a");
        assert_eq!(main_profile(62), "avc1.4d403e");
    }
}
