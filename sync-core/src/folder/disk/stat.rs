//! What the system tells of files, and how it is told their times.

use rustix::fs::{FileType, Statx, StatxFlags, Timespec, Timestamps, UTIME_OMIT};

use crate::{
    folder::fs::{Found, FoundKind},
    store::row::Stat,
};

const NS_PER_SECOND: i64 = 1_000_000_000;

/// What is asked for.
pub(super) const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// What a path is, from what the system tells of it.
pub(super) fn found(statx: &Statx) -> Found {
    let kind = match FileType::from_raw_mode(u32::from(statx.stx_mode)) {
        FileType::RegularFile => FoundKind::File,
        FileType::Directory => FoundKind::Dir,
        FileType::Symlink => FoundKind::Link,
        _ => FoundKind::Other,
    };
    let ns = |sec: i64, nsec: u32| sec.saturating_mul(NS_PER_SECOND).saturating_add(i64::from(nsec));
    Found {
        kind,
        stat: Stat {
            size: statx.stx_size,
            mtime_ns: ns(statx.stx_mtime.tv_sec, statx.stx_mtime.tv_nsec),
            ctime_ns: ns(statx.stx_ctime.tv_sec, statx.stx_ctime.tv_nsec),
            btime_ns: ns(statx.stx_btime.tv_sec, statx.stx_btime.tv_nsec),
            inode: statx.stx_ino,
            device: rustix::fs::makedev(statx.stx_dev_major, statx.stx_dev_minor),
            exec: kind == FoundKind::File && statx.stx_mode & 0o100 != 0,
        },
    }
}

/// The time of the last write alone, set to this.
pub(super) const fn written_at(mtime_ns: i64) -> Timestamps {
    let (tv_sec, tv_nsec) = (mtime_ns.div_euclid(NS_PER_SECOND), mtime_ns.rem_euclid(NS_PER_SECOND));
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec, tv_nsec },
    }
}
