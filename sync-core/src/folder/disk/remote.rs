//! File systems of which the system tells nothing, known by their type: nothing here opens a file.

use std::path::Path;

/// File systems whose files others can change without this system: it then has nothing to tell. Numbers of `statfs`, from
/// Linux's `magic.h` and the sources of those that are not in it.
const REMOTE_TYPES: &[u64] = &[
    0x6969,      // NFS
    0x517b,      // SMB
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB 2 and 3
    0x6573_5546, // FUSE: sshfs, cloud drives, and what else runs in a process
    0x0102_1997, // 9P, as virtual machines share directories
    0x5346_414f, // AFS
    0x6b41_4653, // AFS of the kernel
    0x7375_7245, // Coda
    0x00c3_6400, // Ceph
    0x0bd0_0bd0, // Lustre
    0x0116_1970, // GFS2
    0x7461_636f, // OCFS2
    0x786f_4256, // shared folders of VirtualBox
    0xbacb_acbc, // shared folders of VMware
];

fn is_remote_type(magic: u64) -> bool {
    // The field is signed on some systems and has 32 bits on others.
    REMOTE_TYPES.contains(&(magic & 0xffff_ffff))
}

/// Whether a directory is on a file system that others change behind this system's back, so that it tells of nothing;
/// false where that is not known.
#[must_use]
pub fn is_remote(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|held| is_remote_type(held.f_type as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_that_others_change_are_known_by_their_type() {
        for remote in [0x6969, 0xff53_4d42, 0xffff_ffff_ff53_4d42, 0x6573_5546, 0x0102_1997] {
            assert!(is_remote_type(remote), "{remote:x}");
        }
        // ext4, XFS, Btrfs, overlay, tmpfs, ZFS.
        for local in [0xef53, 0x5846_5342, 0x9123_683e, 0x794c_7630, 0x0102_1994, 0x2fc1_2fc1] {
            assert!(!is_remote_type(local), "{local:x}");
        }
        assert!(!is_remote(Path::new("/proc")));
        assert!(!is_remote(Path::new("/nothing is here")));
    }
}
