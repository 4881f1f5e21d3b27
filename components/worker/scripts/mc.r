#!/usr/bin/env Rscript
# A simulation for one line of examples/params.csv, `mc.r ALPHA N`: the mean of N draws of u^ALPHA, with u between 0 and 1,
# which should come near 1 / (1 + ALPHA). It prints its result; ./inv map collects it.
source(sub("--file=(.*/)?.*", "\\1cluster_action.r", gsub("~+~", " ", commandArgs()[4], fixed = TRUE)))

set.seed(item())   # the same each time it is tried
cat(mean(runif(number(2))^number(1)), "\n", sep = "")
