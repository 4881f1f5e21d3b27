#!/usr/bin/env Rscript
# The action to begin with: one message is on STDIN, and what it leaves is a file under /tmp. Copy it, keep the next line.
source(sub("--file=(.*/)?.*", "\\1cluster_action.r", gsub("~+~", " ", commandArgs()[4], fixed = TRUE)))

body <- read_bytes()   # a message need not be text; for one that is, there is read_text()
path <- paste0("/tmp/myaction-", message_id(), ".txt")
write_result(path, body)
cat("myaction.r:", length(body), "bytes to", path, "\n")
