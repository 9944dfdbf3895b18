//! What programs print, read up to a size.

use std::io::{self, ErrorKind};
use std::process::{Output, Stdio};

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

/// More bytes than anything prints that is asked: uv, when it lists what it resolved, prints less than one
/// in a hundred of them.
const LARGEST: u64 = 64 << 20;

/// Bytes of a line: what is longer comes in parts.
const LINE: u64 = 64 << 10;

/// Runs a program to its end, and gives what it printed. One that doesn't stop printing is killed.
pub async fn output(command: &mut Command) -> io::Result<Output> {
    ended(command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?).await
}

/// The same, of one that runs; it is to be killed when it is dropped.
pub async fn ended(mut child: Child) -> io::Result<Output> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = tokio::try_join!(all(stdout), all(stderr))?;
    Ok(Output { status: child.wait().await?, stdout, stderr })
}

async fn all(printed: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(printed) = printed {
        printed.take(LARGEST + 1).read_to_end(&mut bytes).await?;
    }
    if bytes.len() as u64 > LARGEST {
        let reason = format!("it printed more than {} MiB, and was stopped", LARGEST >> 20);
        return Err(io::Error::new(ErrorKind::FileTooLarge, reason));
    }
    Ok(bytes)
}

/// Reads the next line into `line`, or as much of it as a line may have; says whether there was anything.
pub async fn next_line(
    printed: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> io::Result<bool> {
    line.clear();
    Ok(printed.take(LINE).read_until(b'\n', line).await? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_program_prints_is_given_and_one_that_never_stops_is_killed() {
        let printed = output(Command::new("sh").args(["-c", "echo a; echo b >&2; exit 3"])).await;
        let printed = printed.unwrap();
        assert_eq!((&*printed.stdout, &*printed.stderr), (&b"a\n"[..], &b"b\n"[..]));
        assert_eq!(printed.status.code(), Some(3));
        for endless in ["yes", "yes >&2", "cat /dev/zero"] {
            let error = output(Command::new("sh").args(["-c", endless])).await.unwrap_err();
            assert_eq!(error.to_string(), "it printed more than 64 MiB, and was stopped");
        }
    }

    #[tokio::test]
    async fn a_line_without_an_end_comes_in_parts() {
        let text = [vec![b'a'; 100_000], b"\nb".to_vec()].concat();
        let (mut printed, mut line, mut lengths) = (&text[..], Vec::new(), Vec::new());
        while next_line(&mut printed, &mut line).await.unwrap() {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [65_536, 34_465, 1]);
    }
}
