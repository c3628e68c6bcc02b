//! The status file that programs which look for Linux-VServer find
//! (`s_context`, `VxID`).
//!
//! Pure.

/// Longest command name (prctl(2), `PR_SET_NAME`).
const LONGEST_NAME: usize = 15;

/// The text of `/proc/PID/status` with the lines that Linux-VServer's kernel
/// had in it, for a process that is about to execute `program`.
pub fn text(status: &str, program: &str, number: u32) -> String {
    let base = program.rsplit('/').next().unwrap_or(program);
    let name: String = base.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    let lines = status.lines().map(|line| match line.strip_prefix("Name:") {
        Some(_) => format!("Name:\t{name}\n"),
        None => format!("{line}\n"),
    });
    lines.chain([format!("s_context: {number}\n"), format!("VxID: {number}\n")]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_lines_are_those_of_the_old_kernel() {
        let shown = text("Name:\tvserver\nPid:\t2\n", "/bin/sh", 100);
        assert_eq!(shown, "Name:\tsh\nPid:\t2\ns_context: 100\nVxID: 100\n");
    }

    proptest! {
        #[test]
        fn no_name_makes_a_line(program in "\\PC{0,40}|[\\n\\r/a]{0,10}", number: u32) {
            let shown = text("Name:\tx\nPid:\t1\n", &program, number);
            prop_assert_eq!(shown.lines().count(), 4);
        }
    }
}
