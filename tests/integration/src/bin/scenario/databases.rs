//! Little databases that libc reads and writes by streams: mount tables, passwords, logins; and what stays the host's.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("mount_table", OneProcess, mounts),
    ("password_files", OneProcess, passwords),
    ("login_records", OneProcess, logins),
    ("locale", OneProcess, locale),
    ("syslog", OneProcess, log),
];

unsafe extern "C" {
    fn fgetpwent(stream: *mut FILE) -> *mut passwd;
    fn fgetgrent(stream: *mut FILE) -> *mut group;
    fn putpwent(entry: *const passwd, stream: *mut FILE) -> c_int;
    fn putgrent(entry: *const group, stream: *mut FILE) -> c_int;
    fn utmpname(file: *const c_char) -> c_int;
    fn iconv_open(to: *const c_char, from: *const c_char) -> *mut c_void;
    fn tzset();
}

fn mounts(folder: &str) {
    let name = create(
        folder,
        "mtab",
        b"# comment\n/dev/sda1 / ext4 rw,noatime 0 1\ntmpfs /with\\040space tmpfs size=1m 0 0\n\nhost:/x /y nfs ro\n",
    );
    unsafe {
        let table = setmntent(name.as_ptr(), c"r+".as_ptr());
        let show_all = || loop {
            let entry = getmntent(table);
            if entry.is_null() {
                break;
            }
            let entry = &*entry;
            println!(
                "{} {} {} {} {} {} {}",
                text(entry.mnt_fsname),
                text(entry.mnt_dir),
                text(entry.mnt_type),
                text(entry.mnt_opts),
                entry.mnt_freq,
                entry.mnt_passno,
                !hasmntopt(entry, c"noatime".as_ptr()).is_null()
            );
        };
        show_all();
        let new = mntent {
            mnt_fsname: c"new".as_ptr().cast_mut(),
            mnt_dir: c"/a b".as_ptr().cast_mut(),
            mnt_type: c"ext2".as_ptr().cast_mut(),
            mnt_opts: c"defaults".as_ptr().cast_mut(),
            mnt_freq: 1,
            mnt_passno: 2,
        };
        show("addmntent", addmntent(table, &new));
        rewind(table);
        show_all();
        show("endmntent", endmntent(table));
        println!("{}", contents(&name).lines().last().unwrap_or_default());
        show("missing", if setmntent(path(folder, "none").as_ptr(), c"r".as_ptr()).is_null() { -1 } else { 0i64 });
    }
}

fn passwords(folder: &str) {
    let name = create(folder, "passwd", b"root:x:0:0:Root:/root:/bin/sh\nbad line\nuser:x:1000:1000::/home/user:\n");
    let groups = create(folder, "group", b"root:x:0:\nstaff:x:50:ann,bob\n");
    unsafe {
        let file = fopen(name.as_ptr(), c"r+".as_ptr());
        loop {
            let entry = fgetpwent(file);
            if entry.is_null() {
                break;
            }
            let entry = &*entry;
            println!("{} {} {} {}", text(entry.pw_name), entry.pw_uid, text(entry.pw_dir), text(entry.pw_shell));
        }
        rewind(file);
        let first = *fgetpwent(file);
        fseek(file, 0, SEEK_END);
        show("putpwent", putpwent(&first, file));
        fclose(file);
        println!("{}", contents(&name).lines().last().unwrap_or_default());
        let file = fopen(groups.as_ptr(), c"r+".as_ptr());
        let mut last: group = zeroed();
        loop {
            let entry = fgetgrent(file);
            if entry.is_null() {
                break;
            }
            last = *entry;
            println!("{} {} {}", text(last.gr_name), last.gr_gid, text(*last.gr_mem));
        }
        fseek(file, 0, SEEK_END);
        show("putgrent", putgrent(&last, file));
        fclose(file);
        // The system's own databases are the host's either way.
        setpwent();
        let mut count = 0;
        let mut root = false;
        loop {
            let entry = getpwent();
            if entry.is_null() {
                break;
            }
            count += 1;
            root |= (*entry).pw_uid == 0;
        }
        endpwent();
        println!("{} {root} {}", count > 0, text((*getpwuid(0)).pw_name));
        println!("{}", (*getgrnam(c"root".as_ptr())).gr_gid);
    }
}

fn logins(folder: &str) {
    let name = create(folder, "utmp", b"");
    unsafe {
        show("utmpname", utmpname(name.as_ptr()));
        setutxent();
        let mut entry: utmpx = zeroed();
        entry.ut_type = USER_PROCESS;
        entry.ut_pid = 4711;
        for (i, user) in ["ann", "bob", "ann"].iter().enumerate() {
            entry.ut_id[0] = b'0' as c_char + i as c_char;
            entry.ut_line[..4].copy_from_slice(&[b't', b't', b'y', b'0' + i as u8].map(|byte| byte as c_char));
            entry.ut_user = zeroed();
            user.bytes().enumerate().for_each(|(at, byte)| entry.ut_user[at] = byte as c_char);
            println!("pututxline {}", !pututxline(&entry).is_null());
        }
        setutxent();
        loop {
            let entry = getutxent();
            if entry.is_null() {
                break;
            }
            println!("{} {} {}", text((*entry).ut_line.as_ptr()), text((*entry).ut_user.as_ptr()), (*entry).ut_pid);
        }
        let mut st: stat = zeroed();
        stat(name.as_ptr(), &mut st);
        println!("{} records", st.st_size as usize / size_of::<utmpx>());
        setutxent();
        entry.ut_line[3] = b'1' as c_char;
        println!("by line {}", text((*getutxline(&entry)).ut_user.as_ptr()));
        endutxent();
    }
}

fn locale(_: &str) {
    unsafe {
        println!("{}", text(setlocale(LC_ALL, c"C.UTF-8".as_ptr())));
        println!("{}", text(nl_langinfo(CODESET)));
        println!("{}", setlocale(LC_ALL, c"xx_NONE".as_ptr()).is_null());
        let conversion = iconv_open(c"ISO-8859-15".as_ptr(), c"UTF-8".as_ptr());
        println!("iconv {}", conversion as isize != -1);
        println!("{}", iconv_open(c"NONE-SUCH".as_ptr(), c"UTF-8".as_ptr()) as isize == -1);
        tzset();
        let (time, mut broken): (time_t, tm) = (86_400 * 365, zeroed());
        setenv(c"TZ".as_ptr(), c"Europe/Berlin".as_ptr(), 1);
        tzset();
        localtime_r(&time, &mut broken);
        println!("{} {} {}", broken.tm_year, broken.tm_hour, broken.tm_isdst);
    }
}

fn log(_: &str) {
    unsafe {
        // To /dev/log of the host, in either run: it must neither fail nor print.
        openlog(c"scenario".as_ptr(), LOG_NDELAY | LOG_PID, LOG_USER);
        syslog(LOG_DEBUG, c"%s %d".as_ptr(), c"nothing".as_ptr(), 1 as c_int);
        closelog();
        println!("mask {:#x}", setlogmask(0xf));
        println!("still here");
    }
}
