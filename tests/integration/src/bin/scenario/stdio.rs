//! Streams, and what else of libc reaches the kernel from inside.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[("stdio", Processes, stdio)];

fn stdio(folder: &str) {
    let name = path(folder, "stream");
    unsafe {
        let file = fopen(name.as_ptr(), c"w+".as_ptr());
        println!("fopen: {}", !file.is_null());
        for i in 0..1000 {
            fprintf(file, c"line %d\n".as_ptr(), i as c_int);
        }
        show("fflush", fflush(file));
        show("ftell", ftell(file));
        rewind(file);
        let mut buf = [0u8; 64];
        let mut lines = 0;
        while !fgets(buf.as_mut_ptr().cast(), 64, file).is_null() {
            lines += 1;
        }
        println!("{lines} lines");
        show("fclose", fclose(file));
        let file = fopen(name.as_ptr(), c"a".as_ptr());
        fputs(c"appended\n".as_ptr(), file);
        fclose(file);
        let mut st: stat = zeroed();
        stat(name.as_ptr(), &mut st);
        println!("{}", st.st_size);
        println!("missing: {}", fopen(path(folder, "missing").as_ptr(), c"r".as_ptr()).is_null());
        let out = freopen(path(folder, "out").as_ptr(), c"w".as_ptr(), fopen(name.as_ptr(), c"r".as_ptr()));
        fputs(c"reopened".as_ptr(), out);
        fclose(out);
        stat(path(folder, "out").as_ptr(), &mut st);
        println!("{}", st.st_size);
        let pipe = popen(CString::new(format!("cat {folder}/out")).unwrap().as_ptr(), c"r".as_ptr());
        println!("popen: {}", fread(buf.as_mut_ptr().cast(), 1, 64, pipe));
        show("pclose", pclose(pipe));
        show("system", system(CString::new(format!("test -s {folder}/out")).unwrap().as_ptr()));
        show("remove", remove(name.as_ptr()));
    }
}
