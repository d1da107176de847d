"""The filter language of the runs table: `auc > 0.8 and config.lr <= 1e-4 and tag:paper`.

    filter     := or
    or         := and ("or" and)*
    and        := not ("and"? not)*            two conditions side by side mean "and"
    not        := "not" not | "(" or ")" | condition | word
    condition  := field operator value

`names` knows the fields, `parse` makes the tree of `tree` out of text, `compiling` makes a query of
it, `completion` proposes what may stand at the cursor. A value that is missing matches no
comparison, so `not auc > 0.8` also finds the runs without an AUC. docs/pages.md says the rest.
"""
