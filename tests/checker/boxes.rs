//! A reader of CMAF init sections and chunks, written from ISO/IEC 14496-12 and 14496-15 and sharing nothing with the
//! server's writer. It says what stands in the boxes; `fragments` judges it.

/// One box: its kind and its place in the bytes that were read.
#[derive(Clone, Copy, Debug)]
pub struct Box4<'a> {
    pub kind: [u8; 4],
    /// Offset of the box's first byte.
    pub start: usize,
    /// Offset of the first byte after its header.
    pub inside: usize,
    pub body: &'a [u8],
}

/// The boxes of `data`, one after the other. `base` is added to all offsets.
pub fn boxes(data: &[u8], base: usize) -> Result<Vec<Box4<'_>>, String> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let head = data.get(at..at + 8).ok_or("a box header is cut off")?;
        let kind = [head[4], head[5], head[6], head[7]];
        let (header, size) = match be32(head, 0)? as usize {
            1 => (16, usize::try_from(be64(data, at + 8)?).map_err(|_| "a box too large")?),
            size => (8, size),
        };
        let body = data
            .get(at + header..at.saturating_add(size))
            .ok_or_else(|| format!("box {} claims {size} bytes and {} are there", name(kind), data.len() - at))?;
        out.push(Box4 { kind, start: base + at, inside: base + at + header, body });
        at += size;
    }
    Ok(out)
}

impl<'a> Box4<'a> {
    /// The boxes inside, after `skip` bytes of the body.
    fn children(&self, skip: usize) -> Result<Vec<Box4<'a>>, String> {
        boxes(self.body.get(skip..).ok_or_else(|| format!("box {} is too short", name(self.kind)))?, self.inside + skip)
    }
}

fn name(kind: [u8; 4]) -> String {
    String::from_utf8_lossy(&kind).into_owned()
}

fn child<'a>(of: &[Box4<'a>], kind: &[u8; 4]) -> Result<Box4<'a>, String> {
    let mut found = of.iter().filter(|b| b.kind == *kind);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(*one),
        (None, _) => Err(format!("no {} box", name(*kind))),
        (Some(_), Some(_)) => Err(format!("more than one {} box", name(*kind))),
    }
}

fn be16(data: &[u8], at: usize) -> Result<u16, String> {
    data.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]])).ok_or_else(|| "a field is cut off".to_owned())
}

fn be32(data: &[u8], at: usize) -> Result<u32, String> {
    let b = data.get(at..at + 4).ok_or("a field is cut off")?;
    Ok(u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
}

fn be64(data: &[u8], at: usize) -> Result<u64, String> {
    Ok(u64::from(be32(data, at)?) << 32 | u64::from(be32(data, at + 4)?))
}

/// What the samples of a track are when a chunk does not say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    pub duration: u32,
    pub size: u32,
    pub flags: u32,
}

/// An init section: its leading track, and the sound that goes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Init {
    pub brands: Vec<String>,
    pub track: u32,
    pub timescale: u32,
    /// `vide` or `soun`.
    pub handler: String,
    /// Sample entry: `avc1`, `hvc1`, `av01`, `mp4a`, `Opus`.
    pub entry: String,
    /// RFC 6381 string made from the sample entry.
    pub codecs: String,
    pub width: u32,
    pub height: u32,
    pub sample_rate: u32,
    /// Bytes of the length before each NAL unit.
    pub nal_length: usize,
    pub defaults: Defaults,
    /// Samples in the sample tables, which must be none.
    pub samples: u32,
    /// The second track, where there is one.
    pub sound: Option<Box<Init>>,
}

impl Init {
    /// Reads an init section.
    pub fn parse(data: &[u8]) -> Result<Init, String> {
        let top = boxes(data, 0)?;
        if top.first().is_none_or(|b| b.kind != *b"ftyp") {
            return Err("the first box is not ftyp".to_owned());
        }
        let ftyp = top[0].body;
        let brands = ftyp.chunks(4).enumerate().filter(|(i, _)| *i != 1);
        let brands: Vec<String> = brands.map(|(_, brand)| String::from_utf8_lossy(brand).into_owned()).collect();
        let moov = child(&top, b"moov")?.children(0)?;
        let extends = child(&moov, b"mvex")?.children(0)?;
        let tracks = moov.iter().filter(|b| b.kind == *b"trak");
        let mut tracks = tracks.map(|trak| Init::track(&brands, trak, &extends)).collect::<Result<Vec<_>, _>>()?;
        if extends.iter().filter(|b| b.kind == *b"trex").count() != tracks.len() {
            return Err("not one trex for each track".to_owned());
        }
        let sound = match tracks.len() {
            1 => None,
            2 if tracks[0].track != tracks[1].track => tracks.pop().map(Box::new),
            2 => return Err("two tracks of one number".to_owned()),
            count => return Err(format!("{count} tracks")),
        };
        let leading = tracks.pop().ok_or("no trak box")?;
        let samples = leading.samples + sound.as_ref().map_or(0, |sound| sound.samples);
        Ok(Init { sound, samples, ..leading })
    }

    /// The RFC 6381 strings of its tracks.
    pub fn all_codecs(&self) -> Vec<&str> {
        std::iter::once(&self.codecs).chain(self.sound.iter().map(|sound| &sound.codecs)).map(String::as_str).collect()
    }

    fn track(brands: &[String], trak: &Box4<'_>, extends: &[Box4<'_>]) -> Result<Init, String> {
        let trak = trak.children(0)?;
        let mdia = child(&trak, b"mdia")?.children(0)?;
        let stbl = child(&child(&mdia, b"minf")?.children(0)?, b"stbl")?.children(0)?;
        let mdhd = child(&mdia, b"mdhd")?.body;
        let tkhd = child(&trak, b"tkhd")?.body;
        let track = be32(tkhd, if tkhd.first() == Some(&1) { 20 } else { 12 })?;
        let own = |b: &&Box4<'_>| b.kind == *b"trex" && be32(b.body, 4) == Ok(track);
        let trex = extends.iter().find(own).ok_or("trex is of another track")?.body;
        let mut init = Init {
            brands: brands.to_vec(),
            track,
            timescale: be32(mdhd, if mdhd.first() == Some(&1) { 20 } else { 12 })?,
            handler: String::from_utf8_lossy(child(&mdia, b"hdlr")?.body.get(8..12).unwrap_or_default()).into_owned(),
            defaults: Defaults { duration: be32(trex, 12)?, size: be32(trex, 16)?, flags: be32(trex, 20)? },
            samples: be32(child(&stbl, b"stts")?.body, 4)? + be32(child(&stbl, b"stsz")?.body, 8)?,
            ..Init::default()
        };
        let entries = child(&stbl, b"stsd")?.children(8)?;
        let [entry] = entries.as_slice() else { return Err("not exactly one sample entry".to_owned()) };
        init.entry = name(entry.kind);
        init.read_entry(entry)?;
        Ok(init)
    }

    fn read_entry(&mut self, entry: &Box4<'_>) -> Result<(), String> {
        match &entry.kind {
            b"avc1" | b"avc3" | b"hvc1" | b"hev1" | b"av01" => {
                self.width = u32::from(be16(entry.body, 24)?);
                self.height = u32::from(be16(entry.body, 26)?);
                self.read_picture(&entry.children(78)?)
            }
            b"mp4a" | b"Opus" => {
                self.sample_rate = be32(entry.body, 24)? >> 16;
                self.read_sound(&entry.children(28)?)
            }
            other => Err(format!("sample entry {} is not known", name(*other))),
        }
    }

    fn read_picture(&mut self, inside: &[Box4<'_>]) -> Result<(), String> {
        match self.entry.as_str() {
            "avc1" | "avc3" => {
                let avcc = child(inside, b"avcC")?.body;
                let head = avcc.get(..5).ok_or("avcC is too short")?;
                self.nal_length = usize::from(head[4] & 3) + 1;
                self.codecs = format!("{}.{:02x}{:02x}{:02x}", self.entry, head[1], head[2], head[3]);
            }
            "hvc1" | "hev1" => {
                let hvcc = child(inside, b"hvcC")?.body;
                self.nal_length = usize::from(hvcc.get(21).ok_or("hvcC is too short")? & 3) + 1;
                self.codecs = format!("{}.{}", self.entry, hevc_profile(hvcc)?);
            }
            _ => {
                let av1c = child(inside, b"av1C")?.body.get(..3).ok_or("av1C is too short")?;
                let tier = if av1c[2] & 0x80 == 0 { 'M' } else { 'H' };
                let depth = match (av1c[2] & 0x40 != 0, av1c[2] & 0x20 != 0) {
                    (false, _) => 8,
                    (true, false) => 10,
                    (true, true) => 12,
                };
                self.codecs = format!("av01.{}.{:02}{tier}.{depth:02}", av1c[1] >> 5, av1c[1] & 31);
            }
        }
        Ok(())
    }

    fn read_sound(&mut self, inside: &[Box4<'_>]) -> Result<(), String> {
        if self.entry == "Opus" {
            child(inside, b"dOps")?;
            self.codecs = "opus".to_owned();
            return Ok(());
        }
        let esds = child(inside, b"esds")?.body;
        let config = descriptor(esds, 4, &[3, 4, 5])?;
        let first = config.first().ok_or("the AudioSpecificConfig is empty")?;
        let object = match first >> 3 {
            31 => 32 + ((first & 7) << 3 | config.get(1).unwrap_or(&0) >> 5),
            object => object,
        };
        self.codecs = format!("mp4a.40.{object}");
        Ok(())
    }
}

/// `1.6.L120.90` of an hvcC body, ISO/IEC 14496-15 annex E.3.
fn hevc_profile(hvcc: &[u8]) -> Result<String, String> {
    let head = hvcc.get(..13).ok_or("hvcC is too short")?;
    let space = ["", "A", "B", "C"][usize::from(head[1] >> 6)];
    let tier = if head[1] & 0x20 == 0 { 'L' } else { 'H' };
    let compatibility = be32(head, 2)?.reverse_bits();
    let mut text = format!("{space}{}.{compatibility:X}.{tier}{}", head[1] & 31, head[12]);
    let constraints = &head[6..12];
    let used = constraints.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    for byte in &constraints[..used] {
        text += &format!(".{byte:X}");
    }
    Ok(text)
}

/// Follows a path of MPEG-4 descriptors (ISO/IEC 14496-1 section 7.2.6) and gives the body of the last.
fn descriptor<'a>(data: &'a [u8], mut at: usize, path: &[u8]) -> Result<&'a [u8], String> {
    for (depth, wanted) in path.iter().enumerate() {
        if data.get(at) != Some(wanted) {
            return Err(format!("descriptor {wanted} is missing in esds"));
        }
        at += 1;
        let mut length = 0usize;
        loop {
            let byte = *data.get(at).ok_or("esds is cut off")?;
            at += 1;
            length = length << 7 | usize::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                break;
            }
        }
        if depth + 1 == path.len() {
            return data.get(at..at + length).ok_or_else(|| "esds is cut off".to_owned());
        }
        at += if *wanted == 3 { 3 } else { 13 };
    }
    Err("no path".to_owned())
}

/// One sample of a chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    pub duration: u32,
    pub composition: i32,
    pub sync: bool,
    /// Where its bytes are in the data that was read.
    pub start: usize,
    pub size: usize,
}

/// One chunk: a moof and its mdat, as the leading track has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    pub sequence: u32,
    pub track: u32,
    pub base_is_moof: bool,
    /// tfhd has a base_data_offset, or a trun has no data_offset of its own.
    pub odd_base: bool,
    pub decode_time: u64,
    pub samples: Vec<Sample>,
    /// Where the first sample lies, as trun says.
    pub data: usize,
    /// Where the body of mdat begins and how long it is.
    pub mdat: (usize, usize),
    /// What the moof says of the second track.
    pub sound: Option<Box<Chunk>>,
}

impl Chunk {
    /// In ticks.
    pub fn duration(&self) -> u64 {
        self.samples.iter().map(|s| u64::from(s.duration)).sum()
    }

    /// The chunks of a part or segment. `styp`, `prft`, `emsg` and `sidx` may stand before a moof.
    pub fn parse(data: &[u8], init: &Init) -> Result<Vec<Chunk>, String> {
        let mut chunks = Vec::new();
        let mut open: Option<Chunk> = None;
        for b in boxes(data, 0)? {
            match &b.kind {
                b"moof" if open.is_none() => open = Some(Chunk::moof(&b, init)?),
                b"mdat" => {
                    let mut chunk = open.take().ok_or("mdat without moof")?;
                    chunk.mdat = (b.inside, b.body.len());
                    chunks.push(chunk);
                }
                b"styp" | b"prft" | b"emsg" | b"sidx" if open.is_none() => {}
                other => return Err(format!("box {} stands where it must not", name(*other))),
            }
        }
        if open.is_some() {
            return Err("moof without mdat".to_owned());
        }
        Ok(chunks)
    }

    /// All bytes of its samples, of both tracks.
    pub fn bytes(&self) -> usize {
        let own: usize = self.samples.iter().map(|s| s.size).sum();
        own + self.sound.as_ref().map_or(0, |sound| sound.bytes())
    }

    fn moof(moof: &Box4<'_>, init: &Init) -> Result<Chunk, String> {
        let inside = moof.children(0)?;
        let sequence = be32(child(&inside, b"mfhd")?.body, 4)?;
        let defaults = [Some(init.defaults), init.sound.as_ref().map(|sound| sound.defaults)];
        let mut trafs = inside.iter().filter(|b| b.kind == *b"traf").zip(defaults.into_iter().flatten());
        let mut read = || trafs.next().map(|(traf, defaults)| Chunk::traf(traf, moof.start, sequence, defaults));
        let leading = read().ok_or("no traf box")??;
        let sound = read().transpose()?.map(Box::new);
        if inside.iter().filter(|b| b.kind == *b"traf").count() > 1 + usize::from(sound.is_some()) {
            return Err("more than one traf box for a track".to_owned());
        }
        Ok(Chunk { sound, ..leading })
    }

    fn traf(traf: &Box4<'_>, moof: usize, sequence: u32, track: Defaults) -> Result<Chunk, String> {
        let traf = traf.children(0)?;
        let tfhd = child(&traf, b"tfhd")?.body;
        let tfdt = child(&traf, b"tfdt")?.body;
        let mut defaults = track;
        let flags = be32(tfhd, 0)? & 0xff_ffff;
        let mut at = 8;
        let mut odd_base = flags & 1 != 0;
        at += if odd_base { 8 } else { 0 };
        at += if flags & 2 != 0 { 4 } else { 0 };
        for (bit, field) in [(8, &mut defaults.duration), (16, &mut defaults.size), (32, &mut defaults.flags)] {
            if flags & bit != 0 {
                *field = be32(tfhd, at)?;
                at += 4;
            }
        }
        let trun = child(&traf, b"trun")?.body;
        odd_base |= be32(trun, 0)? & 1 == 0;
        let (samples, data) = samples(trun, moof, defaults)?;
        Ok(Chunk {
            sequence,
            track: be32(tfhd, 4)?,
            base_is_moof: flags & 0x2_0000 != 0,
            odd_base,
            decode_time: if tfdt.first() == Some(&1) { be64(tfdt, 4)? } else { u64::from(be32(tfdt, 4)?) },
            samples,
            data,
            mdat: (0, 0),
            sound: None,
        })
    }
}

fn samples(trun: &[u8], moof: usize, defaults: Defaults) -> Result<(Vec<Sample>, usize), String> {
    let flags = be32(trun, 0)? & 0xff_ffff;
    let count = be32(trun, 4)? as usize;
    let mut at = 8;
    let mut field = |wanted: bool, default: u32| -> Result<u32, String> {
        if !wanted {
            return Ok(default);
        }
        at += 4;
        be32(trun, at - 4)
    };
    let data = moof.wrapping_add_signed(field(flags & 1 != 0, 0)? as i32 as isize);
    let first = field(flags & 4 != 0, defaults.flags)?;
    let mut out = Vec::new();
    let mut start = data;
    for i in 0..count.min(100_000) {
        let duration = field(flags & 0x100 != 0, defaults.duration)?;
        let size = field(flags & 0x200 != 0, defaults.size)? as usize;
        let own = if i == 0 && flags & 4 != 0 { first } else { defaults.flags };
        let sample_flags = field(flags & 0x400 != 0, own)?;
        let composition = field(flags & 0x800 != 0, 0)? as i32;
        out.push(Sample { duration, composition, sync: sample_flags & 0x1_0000 == 0, start, size });
        start = start.saturating_add(size);
    }
    Ok((out, data))
}

/// What a picture's access unit is, by its NAL unit types or OBUs; Err where it cannot be read.
pub fn is_idr(entry: &str, nal_length: usize, mut unit: &[u8]) -> Result<bool, String> {
    if entry == "av01" {
        return Ok(unit.first().is_some_and(|b| b >> 3 & 15 == 1));
    }
    let mut idr = false;
    while !unit.is_empty() {
        let prefix = unit.get(..nal_length).ok_or("a NAL unit length is cut off")?;
        let length = prefix.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
        let nal = unit.get(nal_length..nal_length + length).ok_or("a NAL unit is cut off")?;
        let first = *nal.first().ok_or("a NAL unit is empty")?;
        idr |= if entry.starts_with("avc") { first & 31 == 5 } else { matches!(first >> 1 & 63, 19 | 20) };
        unit = &unit[nal_length + length..];
    }
    Ok(idr)
}
