//! Where a command takes a secret from: a file, the environment, the terminal, or randomness. Never an argument,
//! because every user of the machine can read those.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::{Zeroize, Zeroizing};

use super::Failure;
use crate::control::record::{self, SECRET_CHARS_MAX, SecretText};

/// The environment variable a secret can be given in.
pub const SECRET_VARIABLE: &str = "SLUICEGATE_SECRET";

/// How the secret is given. Without any of these, SLUICEGATE_SECRET is used, or else the terminal asks for it.
#[derive(Args, Clone, Debug)]
pub struct SecretArgs {
    /// File whose first line is the secret, `-` for standard input; without it and --generate, SLUICEGATE_SECRET is
    /// used, or else the terminal asks
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Make a random secret and print it, this once
    #[arg(long, conflicts_with = "secret_file")]
    generate: bool,
}

/// A secret, and whether its owner has yet to be told.
#[derive(Debug)]
pub struct ChosenSecret {
    /// The secret.
    pub text: SecretText,
    /// It is random, so the command prints it.
    pub generated: bool,
}

impl SecretArgs {
    /// The secret, checked.
    ///
    /// # Errors
    /// When there is none, or it breaks the rules of [`record`].
    pub fn choose(&self) -> Result<ChosenSecret, Failure> {
        if self.generate {
            let text = record::new_secret().map_err(|error| Failure::Refused(error.message))?;
            return Ok(ChosenSecret { text, generated: true });
        }
        let text = match given(self.secret_file.as_deref())? {
            Some(text) => text,
            None => ask(true)?,
        };
        record::check_secret(&text).map_err(|error| Failure::Refused(error.message))?;
        Ok(ChosenSecret { text, generated: false })
    }
}

/// A secret that exists already, as it was given. `option` is the one that names the file, for the message.
///
/// # Errors
/// When there is none.
pub fn known(file: Option<&Path>, option: &str) -> Result<SecretText, Failure> {
    match given(file)? {
        Some(text) => Ok(text),
        None => ask(false).map_err(|failure| match failure {
            Failure::Usage(_) => Failure::Usage(format!(
                "there is no secret and no terminal to ask for one; use {option} or {SECRET_VARIABLE}"
            )),
            refused => refused,
        }),
    }
}

/// The passphrase of a backup: from this file, from SLUICEGATE_PASSPHRASE, or asked for, `twice` for a new one.
///
/// # Errors
/// When there is none.
pub fn passphrase(file: Option<&Path>, twice: bool) -> Result<SecretText, Failure> {
    match given_in(file, PASSPHRASE_VARIABLE)? {
        Some(text) => Ok(text),
        None => ask_for("Passphrase", twice).map_err(|failure| match failure {
            Failure::Usage(_) => Failure::Usage(format!(
                "there is no passphrase and no terminal to ask for one; use --passphrase-file or {PASSPHRASE_VARIABLE}"
            )),
            refused => refused,
        }),
    }
}

/// The environment variable a passphrase can be given in.
pub const PASSPHRASE_VARIABLE: &str = "SLUICEGATE_PASSPHRASE";

/// The secret in this file, or in the variable.
fn given(file: Option<&Path>) -> Result<Option<SecretText>, Failure> {
    given_in(file, SECRET_VARIABLE)
}

fn given_in(file: Option<&Path>, variable: &str) -> Result<Option<SecretText>, Failure> {
    if let Some(path) = file {
        return read_file(path).map(Some);
    }
    match std::env::var_os(variable).filter(|value| !value.is_empty()) {
        None => Ok(None),
        Some(value) => match value.into_string() {
            Ok(text) => Ok(Some(SecretText::new(text))),
            Err(_) => Err(Failure::Refused(format!("{variable} is no text"))),
        },
    }
}

/// Longest secret file that is read: the secret, a line end, and room to notice that it is too long.
const FILE_BYTES_MAX: u64 = 1024;

fn read_file(path: &Path) -> Result<SecretText, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::Refused(format!("the secret file {} cannot be read: {error}", path.display()))
    };
    let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX as usize));
    if path == Path::new("-") {
        io::stdin().lock().take(FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
    }
    .map_err(|error| failed(&error))?;
    first_line(&text).map_err(|problem| failed(&problem))
}

/// The only line of a secret file.
fn first_line(text: &str) -> Result<SecretText, &'static str> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err("it is empty");
    }
    if line.contains(['\n', '\r']) {
        return Err("it has more than one line");
    }
    Ok(SecretText::new(line.to_owned()))
}

/// Asks the terminal, `twice` for a new secret.
fn ask(twice: bool) -> Result<SecretText, Failure> {
    ask_for("Secret", twice)
}

fn ask_for(what: &str, twice: bool) -> Result<SecretText, Failure> {
    let none = || {
        Failure::Usage(format!(
            "there is no secret and no terminal to ask for one; use --generate, --secret-file or {SECRET_VARIABLE}"
        ))
    };
    let mut terminal = File::options().read(true).write(true).open("/dev/tty").map_err(|_| none())?;
    let before = tcgetattr(&terminal).map_err(|_| none())?;
    let _restored = Restore { terminal: terminal.try_clone().map_err(|_| none())?, before: before.clone() };
    let mut silent = before;
    // Line editing and signals are switched off too: an interrupt in the middle would leave the terminal silent.
    silent.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    tcsetattr(&terminal, OptionalActions::Flush, &silent).map_err(|_| none())?;
    let first = prompt(&mut terminal, &format!("{what}: "))?;
    if !twice {
        return Ok(SecretText::new(first.to_string()));
    }
    let second = prompt(&mut terminal, &format!("{what} again: "))?;
    if first.as_bytes() != second.as_bytes() {
        return Err(Failure::Refused("the two differ; nothing was changed".to_owned()));
    }
    Ok(SecretText::new(first.to_string()))
}

/// Gives the terminal its modes back, however the prompt ends.
struct Restore {
    terminal: File,
    before: Termios,
}

impl Drop for Restore {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

fn prompt(terminal: &mut (impl Read + Write), text: &str) -> Result<Zeroizing<String>, Failure> {
    let lost = |error: io::Error| Failure::Refused(format!("the terminal cannot be used: {error}"));
    terminal.write_all(text.as_bytes()).map_err(lost)?;
    let line = read_line(terminal);
    terminal.write_all(b"\r\n").map_err(lost)?;
    line.map_err(|problem| Failure::Refused(format!("{problem}; nothing was changed")))
}

/// Reads a line from a terminal that neither edits nor interrupts: the few keys people use are done here.
fn read_line(terminal: &mut impl Read) -> Result<Zeroizing<String>, String> {
    const INTERRUPT: u8 = 0x03;
    const END: u8 = 0x04;
    const BACKSPACE: u8 = 0x08;
    const KILL: u8 = 0x15;
    const DELETE: u8 = 0x7F;
    // The room is taken at once: a growing vector would leave copies behind.
    let mut line = Zeroizing::new(Vec::with_capacity(4 * SECRET_CHARS_MAX));
    loop {
        let mut byte = [0u8; 1];
        match terminal.read(&mut byte) {
            Ok(0) => return Err("the terminal was closed".to_owned()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(format!("the terminal cannot be read: {error}")),
            Ok(_) => {}
        }
        match byte[0] {
            b'\n' | b'\r' => break,
            INTERRUPT => return Err("interrupted".to_owned()),
            END if line.is_empty() => return Err("no secret was given".to_owned()),
            BACKSPACE | DELETE => drop(line.pop()),
            KILL => line.clear(),
            _ if line.len() == line.capacity() => return Err("the secret is too long".to_owned()),
            other => line.push(other),
        }
        byte.zeroize();
    }
    let text = std::str::from_utf8(&line).map_err(|_| "the secret is no text".to_owned())?;
    Ok(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_terminal() {
        let check = |typed: &str, expected: Result<&str, &str>| {
            let line = read_line(&mut typed.as_bytes());
            assert_eq!(
                line.as_ref().map(|line| line.as_str()).map_err(String::as_str),
                expected,
                "{typed:?}"
            );
        };
        check("Passw0rd\n", Ok("Passw0rd"));
        check("Passw0rd\r", Ok("Passw0rd"));
        check("Pasx\x7fsw0rd\n", Ok("Passw0rd"));
        check("\x08wrong\x15Passw0rd\nrest", Ok("Passw0rd"));
        check("\n", Ok(""));
        check("Pass\x03", Err("interrupted"));
        check("\x04", Err("no secret was given"));
        check("Pass", Err("the terminal was closed"));
        check(&"x".repeat(4 * SECRET_CHARS_MAX + 1), Err("the secret is too long"));
    }

    #[test]
    fn secret_files() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(first_line(text).ok().as_ref().map(SecretText::expose), expected, "{text:?}");
        };
        check("Passw0rd", Some("Passw0rd"));
        check("Passw0rd\n", Some("Passw0rd"));
        check("Passw0rd\r\n", Some("Passw0rd"));
        check(" Passw0rd\n", Some(" Passw0rd"));
        check("Passw0rd\n\n", None);
        check("one\ntwo\n", None);
        check("\n", None);
        check("", None);
    }

    #[test]
    fn a_file_gives_a_checked_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let args = SecretArgs { secret_file: Some(path.clone()), generate: false };
        assert!(args.choose().unwrap_err().to_string().contains("cannot be read"));
        std::fs::write(&path, "weakling\n").unwrap();
        let text = args.choose().unwrap_err().to_string();
        assert!(text.contains("upper-case") && !text.contains("weakling"), "{text}");
        std::fs::write(&path, "Passw0rd\n").unwrap();
        let chosen = args.choose().unwrap();
        assert_eq!((chosen.text.expose(), chosen.generated), ("Passw0rd", false));
        std::fs::write(&path, "x".repeat(5000)).unwrap();
        assert!(args.choose().is_err());
    }

    #[test]
    fn generated_secrets_differ() {
        let args = SecretArgs { secret_file: None, generate: true };
        let (one, two) = (args.choose().unwrap(), args.choose().unwrap());
        assert!(one.generated && one.text.expose() != two.text.expose());
    }
}
