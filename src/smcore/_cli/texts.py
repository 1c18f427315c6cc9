"""What the command line says of itself; ``{program}`` is how it was called."""

TRAIN_DESCRIPTION = """\
Fit a softmax classifier (softmax layer, cross-entropy, mini-batch SGD with momentum) and write it
and a report. Without --data: the 1797 handwritten digits that come with scikit-learn. A quarter of
the rows, drawn class by class, is held out for the test; features are standardised with the mean
and the spread of the training rows. Needs the extra [demo]."""

TRAIN_EPILOG = """\
data files:
  .csv .tsv .txt .data ...    text, also compressed (.gz, .bz2, .xz); line 1 names the columns
  .parquet .feather           with the extra [tables]
  .npz                        --target names the array of class labels, one per row; the features
                              are the array 'X', or the only other: (rows, features), or images
Every column of a table but the target is a feature: numbers as they are, true and false as 1 and 0,
text as categories, each a feature of 0 or 1. A first column without a name, or one that numbers the
rows, is left out. Columns are given by name, or by position: 1 is the first, -1 the last.

files written to --out, all at the end, and none after an error:
  weights.npz  the model, for predict and explain: softmax((X - mean) / scale @ W + b)
  history.csv  loss, accuracy and milliseconds of every epoch
  report.png   loss, accuracy, confusion, weights, the Jacobian of the least certain row

examples:
  {program} train
  {program} train --data iris.csv --target species --epochs 50 --out iris-model
  {program} train --data titanic.csv --target Survived --drop Name,Ticket,Cabin --drop-missing
  {program} train --data iris.data.gz --no-header --target -1"""

PREDICT_DESCRIPTION = """\
Print the most probable class of each row of a table, and the probabilities of all, as CSV: by a
model that train has written. Columns are found by their names; others are ignored. If the table has
the labels, too, the accuracy is printed on stderr."""

PREDICT_EPILOG = """\
examples:
  {program} predict --model iris-model --data flowers.csv
  {program} predict --data new.parquet --show labels --keep id --out predicted.csv"""

EXPLAIN_DESCRIPTION = """\
Print the softmax layer h = softmax(W^T x + b) and its derivatives step by step: from first
principles, by the shortcut, and the difference between the two."""

EXPLAIN_EPILOG = """\
An ARRAY is written out, rows separated by semicolons ("1,2;3,4"), or is a file: .csv (numbers
only, no header), .npy, or .npz (the array of that name: W, x or b).

What else is in the .npz given as --W is used, as train writes it: b, mean and scale, by which x is
standardised, and the names of features and classes.

examples:
  {program} explain
  {program} explain --W "1,2,0;0,1,1" --x=-1,0.5
  {program} explain --W smcore-train/weights.npz --x row.csv
  {program} explain --W smcore-train/weights.npz --data iris.csv --row 5"""
