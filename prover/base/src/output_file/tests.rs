use super::{target::is_trusted, *};
use std::{
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    process::Command,
    thread,
};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a scratch folder")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = folder.read_dir().expect("the folder exists");
    entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").mode() & 0o7777
}

fn write(path: &Path, bytes: &[u8]) {
    write_file(path, Access::Public, |file| file.write_all(bytes)).expect("there is room");
}

fn failing(writer: &mut dyn Write) -> io::Result<()> {
    writer.write_all(&[1; 5000])?;
    Err(io::ErrorKind::StorageFull.into())
}

/// Runs a program that must succeed.
fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().expect("the program is there");
    assert!(status.success(), "{program} {arguments:?}");
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() {
    let folder = folder();
    let path = folder.path().join("file");
    let fails = || write_file(&path, Access::Public, failing).expect_err("full").kind();
    assert_eq!(fails(), io::ErrorKind::StorageFull);
    assert!(names(folder.path()).is_empty());
    write(&path, b"old");
    assert_eq!(fails(), io::ErrorKind::StorageFull);
    assert_eq!(fs::read(&path).expect("it is there"), b"old");
    write(&path, b"new");
    assert_eq!(fs::read(&path).expect("it is there"), b"new");
    assert_eq!(names(folder.path()), ["file"]);
}

#[test]
fn a_file_that_is_opened_and_not_written_leaves_nothing() {
    let folder = folder();
    let path = folder.path().join("file");
    drop(OutputFile::open(&path, Access::Public).expect("the folder is ours"));
    assert!(names(folder.path()).is_empty());
    write(&path, b"old");
    drop(OutputFile::open(&path, Access::Public).expect("the file is ours"));
    assert_eq!(fs::read(&path).expect("it is there"), b"old");
}

#[test]
fn what_cannot_be_written_is_refused_when_it_is_opened() {
    let folder = folder();
    let open = |name: &str| OutputFile::open(&folder.path().join(name), Access::Public).expect_err("refused").kind();
    assert_eq!(open("none/file"), io::ErrorKind::NotFound);
    assert_eq!(open("file/"), io::ErrorKind::IsADirectory);
    assert_eq!(open("."), io::ErrorKind::IsADirectory);
    assert_eq!(open(".."), io::ErrorKind::IsADirectory);
    symlink("b", folder.path().join("a")).expect("the folder is ours");
    symlink("a", folder.path().join("b")).expect("the folder is ours");
    assert_eq!(open("a"), io::ErrorKind::Other);
}

#[test]
fn new_files_have_the_mode_of_the_umask_and_secrets_none_for_others() {
    let folder = folder();
    let [plain, public, private] = ["plain", "public", "private"].map(|name| folder.path().join(name));
    fs::write(&plain, b"").expect("the folder is ours");
    write(&public, b"");
    write_file(&private, Access::Private, |_| Ok(())).expect("there is room");
    assert_eq!((mode(&public), mode(&private)), (mode(&plain), 0o600));
}

#[test]
fn files_that_exist_keep_mode_and_owner() {
    let folder = folder();
    let path = folder.path().join("file");
    write(&path, b"old");
    let owner = || (fs::metadata(&path).expect("it is there").uid(), fs::metadata(&path).expect("it is there").gid());
    // Nobody but root may give a file away.
    let given = owner().0 == 0 && std::os::unix::fs::chown(&path, Some(4321), Some(1234)).is_ok();
    for access in [Access::Public, Access::Private] {
        for wanted in [0o640, 0o604, 0o600] {
            fs::set_permissions(&path, fs::Permissions::from_mode(wanted)).expect("the file is ours");
            let before = owner();
            assert!(!given || before == (4321, 1234));
            write_file(&path, access, |file| file.write_all(b"new")).expect("there is room");
            assert_eq!((mode(&path), owner()), (wanted, before));
        }
    }
    assert_eq!(fs::read(&path).expect("it is there"), b"new");
}

#[test]
fn links_stay_and_what_they_lead_to_is_written() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("inner")).expect("the folder is ours");
    symlink("inner/file", at("link")).expect("the folder is ours");
    symlink(at("link"), at("second")).expect("the folder is ours");
    for bytes in [b"new", b"old"] {
        write(&at("second"), bytes);
        assert_eq!(fs::read(at("inner/file")).expect("it is there"), bytes);
        assert!(at("link").is_symlink() && at("second").is_symlink());
    }
    assert_eq!(names(&at("inner")), ["file"]);
}

#[test]
fn pipes_are_written_in_place_whoever_comes_first() {
    for reader_first in [true, false] {
        let folder = folder();
        let path = folder.path().join("pipe");
        run("mkfifo", &[path.to_str().expect("UTF-8")]);
        let reader = {
            let path = path.clone();
            move || fs::read(path).expect("a pipe is read")
        };
        let (output, reader) = if reader_first {
            let reader = thread::spawn(reader);
            // The reader waits in opening the pipe until there is a writer, so one of these finds it.
            let output = loop {
                let output = OutputFile::open(&path, Access::Public).expect("a pipe");
                match output.sink {
                    Sink::Stream(_) => break output,
                    _ => thread::yield_now(),
                }
            };
            (output, reader)
        } else {
            let output = OutputFile::open(&path, Access::Public).expect("opening does not wait for a reader");
            (output, thread::spawn(reader))
        };
        output.write(|file| file.write_all(&[7; 100_000])).expect("somebody reads");
        assert_eq!(reader.join().expect("it ends"), [7; 100_000]);
        assert!(fs::symlink_metadata(&path).expect("it is there").file_type().is_fifo());
        assert_eq!(names(folder.path()), ["pipe"]);
    }
}

#[test]
fn devices_are_written_in_place() {
    let folder = folder();
    let path = folder.path().join("null");
    // Only root makes devices; a link to one leads there as well and is what everybody has.
    let name = path.to_str().expect("UTF-8");
    let made = Command::new("mknod").args([name, "c", "1", "3"]).status().is_ok_and(|status| status.success());
    if !made {
        symlink("/dev/null", &path).expect("the folder is ours");
    }
    let before = fs::metadata(&path).expect("a device");
    for access in [Access::Public, Access::Private] {
        let written = OutputFile { path: path.clone(), sink: Sink::open(&path).expect("a device"), access };
        assert!(matches!(written.sink, Sink::Stream(_)), "nothing that is no regular file is replaced");
        // A node on a file system that allows no devices cannot be opened, so this one could.
        written.write(|file| file.write_all(b"gone")).expect("null takes everything");
    }
    let after = fs::metadata(&path).expect("it is there");
    assert!(after.file_type().is_char_device());
    assert_eq!((after.ino(), after.mode(), after.rdev()), (before.ino(), before.mode(), before.rdev()));
}

#[test]
fn what_is_open_already_is_written_where_it_stands() {
    let folder = folder();
    let path = folder.path().join("file");
    fs::write(&path, b"before ").expect("the folder is ours");
    let file = File::options().append(true).open(&path).expect("the file is ours");
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    write(Path::new(&link), b"after");
    assert_eq!(fs::read(&path).expect("it is there"), b"before after");
    assert_eq!(names(folder.path()), ["file"]);
    // It is the file all the same, which is not to be read at a time.
    let output = OutputFile::open(Path::new(&link), Access::Public).expect("open");
    assert!(matches!(expect_distinct(&[output], &[&path]), Err(ConflictError::Input { .. })));
}

#[test]
fn a_file_that_cannot_be_renamed_over_is_written_in_place() {
    let busy =
        |file: NamedTempFile, _: &Path| Err(PersistError { error: io::Error::from_raw_os_error(libc::EBUSY), file });
    let folder = folder();
    let path = folder.path().join("file");
    fs::write(&path, b"a longer text than the next").expect("the folder is ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("the file is ours");
    let inode = fs::metadata(&path).expect("it is there").ino();
    let again = |write: fn(&mut dyn Write) -> io::Result<()>| replace(&path, Access::Public, write, busy);
    again(|file| file.write_all(b"new")).expect("there is room");
    assert_eq!(fs::read(&path).expect("it is there"), b"new");
    assert_eq!((fs::metadata(&path).expect("it is there").ino(), mode(&path)), (inode, 0o640));
    assert_eq!(again(failing).expect_err("full").kind(), io::ErrorKind::StorageFull);
    assert_eq!(fs::read(&path).expect("it is there"), b"new", "the contents are whole before the file is touched");
    // Who has mapped it holds a lock.
    let mapped = File::open(&path).expect("the file is ours");
    mapped.lock_shared().expect("nobody writes");
    assert_eq!(again(|file| file.write_all(b"newer")).expect_err("locked").kind(), io::ErrorKind::WouldBlock);
    assert_eq!(fs::read(&path).expect("it is there"), b"new");
    assert_eq!(names(folder.path()), ["file"]);
}

/// What a container does with `--volume file:file`, where the kernel lets us.
#[test]
fn a_mounted_file_is_written_in_place() {
    let folder = folder();
    let [source, target] = ["source", "target"].map(|name| folder.path().join(name));
    fs::write(&source, b"old").expect("the folder is ours");
    fs::write(&target, b"").expect("the folder is ours");
    let mount = |arguments: &[&Path]| {
        let mounted = Command::new("mount").arg("--bind").args(arguments).output();
        mounted.is_ok_and(|output| output.status.success())
    };
    let mounted = mount(&[&source, &target]);
    let written = write_file(&target, Access::Public, |file| file.write_all(b"new"));
    let found = fs::read(if mounted { &source } else { &target }).expect("it is there");
    if mounted {
        run("umount", &[target.to_str().expect("UTF-8")]);
    }
    written.expect("a file that was mounted is a file");
    assert_eq!(found, b"new");
}

#[test]
fn one_file_by_two_names_is_refused() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let open = |name: &str| OutputFile::open(&at(name), Access::Public).expect("the folder is ours");
    fs::create_dir(at("inner")).expect("the folder is ours");
    symlink("inner", at("other")).expect("the folder is ours");
    fs::write(at("inner/file"), b"input").expect("the folder is ours");
    fs::hard_link(at("inner/file"), at("hard")).expect("the folder is ours");
    symlink("other/file", at("soft")).expect("the folder is ours");
    symlink("inner/absent", at("dangling")).expect("the folder is ours");
    for name in ["hard", "soft", "inner/file", "other/../inner/./file"] {
        let conflict = expect_distinct(&[open("elsewhere"), open(name)], &[&at("none"), &at("other/file")]);
        assert!(matches!(conflict, Err(ConflictError::Input { output, .. }) if output == at(name)), "{name}");
        let conflict = expect_distinct(&[open(name), open("other/file")], &[]);
        assert!(matches!(conflict, Err(ConflictError::Outputs { .. })), "{name}");
    }
    for name in ["inner/absent", "other/absent", "dangling"] {
        let conflict = expect_distinct(&[open("dangling"), open(name)], &[]);
        assert!(matches!(conflict, Err(ConflictError::Outputs { .. })), "{name}");
    }
    expect_distinct(&[open("elsewhere"), open("inner/elsewhere"), open("hard")], &[&at("none")]).expect("all differ");
    // Streams lose nothing by being given twice.
    let twice = [Path::new("/dev/null"); 2].map(|path| OutputFile::open(path, Access::Public).expect("a device"));
    expect_distinct(&twice, &[Path::new("/dev/null")]).expect("nothing is replaced");
}

#[test]
fn strangers_are_trusted_nowhere_that_all_may_write() {
    let (us, folder_owner, stranger) = (1_000, 1_001, 1_002);
    for (mode, owner, expected) in [
        (0o41777, stranger, false),
        (0o41777, us, true),
        (0o41777, 0, true),
        (0o41777, folder_owner, true),
        // Somebody who may remove what is there may do as he likes: only in sticky folders is there a difference.
        (0o40777, stranger, true),
        (0o41770, stranger, true),
        (0o40755, stranger, true),
    ] {
        assert_eq!(is_trusted((mode, folder_owner), owner, us), expected, "{mode:o} {owner}");
    }
    assert!(!is_trusted((0o41777, 0), stranger, 0), "root does not follow strangers either");
}

/// Gives away what is at a path, links themselves; only root can.
fn give_away(path: &Path) -> bool {
    std::os::unix::fs::lchown(path, Some(4321), Some(1234)).is_ok()
}

#[test]
fn what_strangers_lay_in_the_way_is_neither_followed_nor_written() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    for name in ["shared", "ours"] {
        fs::create_dir(at(name)).expect("the folder is ours");
    }
    fs::set_permissions(at("shared"), fs::Permissions::from_mode(0o1777)).expect("the folder is ours");
    fs::write(at("ours/secret"), b"words").expect("the folder is ours");
    symlink(at("ours/secret"), at("shared/report")).expect("the folder is ours");
    symlink(at("ours/absent"), at("shared/dangling")).expect("the folder is ours");
    symlink(at("ours"), at("shared/folder")).expect("the folder is ours");
    symlink("shared/report", at("chain")).expect("the folder is ours");
    fs::write(at("shared/file"), b"theirs").expect("the folder is ours");
    run("mkfifo", &[at("shared/pipe").to_str().expect("UTF-8")]);
    let ways = ["shared/report", "shared/dangling", "shared/folder/secret", "chain"];
    // As long as all this is ours, it is followed.
    for way in ways {
        OutputFile::open(&at(way), Access::Public).expect("our own links");
    }
    if !["report", "dangling", "folder", "file", "pipe"].iter().all(|name| give_away(&at("shared").join(name))) {
        return;
    }
    for way in ways {
        let error = write_file(&at(way), Access::Public, |file| file.write_all(b"report")).expect_err("a stranger's");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{way}");
        assert!(error.to_string().contains("is another user's") && error.to_string().contains("shared"), "{error}");
    }
    for name in ["shared/file", "shared/pipe"] {
        let error = OutputFile::open(&at(name), Access::Private).expect_err("a stranger's");
        assert!(error.to_string().ends_with("is not written"), "{error}");
    }
    assert_eq!(fs::read(at("ours/secret")).expect("it is there"), b"words");
    assert_eq!(fs::read(at("shared/file")).expect("it is there"), b"theirs");
    assert_eq!(names(&at("ours")), ["secret"]);
    // Where not everybody may write, links of others are followed as ever.
    fs::set_permissions(at("shared"), fs::Permissions::from_mode(0o1755)).expect("the folder is ours");
    write(&at("chain"), b"new");
    assert_eq!(fs::read(at("ours/secret")).expect("it is there"), b"new");
}

/// Whoever exchanges the file for a link after its way was gone has the link replaced.
#[test]
fn a_link_that_comes_late_is_not_followed() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("secret"), b"words").expect("the folder is ours");
    let output = OutputFile::open(&at("report"), Access::Public).expect("the folder is ours");
    symlink("secret", at("report")).expect("the folder is ours");
    output.write(|file| file.write_all(b"report")).expect("there is room");
    assert_eq!(fs::read(at("secret")).expect("it is there"), b"words");
    assert_eq!(fs::read(at("report")).expect("it is there"), b"report");
    let late: fn(NamedTempFile, &Path) -> Result<File, PersistError> =
        |file, _| Err(PersistError { error: io::Error::from_raw_os_error(libc::EBUSY), file });
    symlink("secret", at("other")).expect("the folder is ours");
    let written = replace(&at("other"), Access::Public, |file| file.write_all(b"report"), late);
    assert!(written.is_err() && fs::read(at("secret")).expect("it is there") == b"words");
}
