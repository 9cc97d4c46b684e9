-- tally: projection balances
-- What each account has, in haléře (hundredths of a crown), as exact integers. Additions commute, so rows come out the same in whatever order
-- the streams of the two regions are seen.

-- tally: schema
CREATE TABLE balances (
    account TEXT PRIMARY KEY,
    balance_minor INTEGER NOT NULL,
    transactions INTEGER NOT NULL
) WITHOUT ROWID;

-- tally: on bank CashDeposited
INSERT INTO balances VALUES (:stream, CAST(replace(json_extract(:payload, '$.amount'), '.', '') AS INTEGER), 1)
ON CONFLICT (account) DO UPDATE SET balance_minor = balance_minor + excluded.balance_minor, transactions = transactions + 1;

-- tally: on bank InterestCredited
INSERT INTO balances VALUES (:stream, CAST(replace(json_extract(:payload, '$.amount'), '.', '') AS INTEGER), 1)
ON CONFLICT (account) DO UPDATE SET balance_minor = balance_minor + excluded.balance_minor, transactions = transactions + 1;

-- tally: on bank TransferReceived
INSERT INTO balances VALUES (:stream, CAST(replace(json_extract(:payload, '$.amount'), '.', '') AS INTEGER), 1)
ON CONFLICT (account) DO UPDATE SET balance_minor = balance_minor + excluded.balance_minor, transactions = transactions + 1;

-- tally: on bank PensionReceived
INSERT INTO balances VALUES (:stream, CAST(replace(json_extract(:payload, '$.amount'), '.', '') AS INTEGER), 1)
ON CONFLICT (account) DO UPDATE SET balance_minor = balance_minor + excluded.balance_minor, transactions = transactions + 1;

-- tally: on bank CashWithdrawn
INSERT INTO balances VALUES (:stream, -CAST(replace(json_extract(:payload, '$.amount'), '.', '') AS INTEGER), 1)
ON CONFLICT (account) DO UPDATE SET balance_minor = balance_minor + excluded.balance_minor, transactions = transactions + 1;

-- tally: on bank CardWithdrawal
INSERT INTO balances VALUES (:stream, -CAST(replace(json_extract(:payload, '$.amount'), '.', '') AS INTEGER), 1)
ON CONFLICT (account) DO UPDATE SET balance_minor = balance_minor + excluded.balance_minor, transactions = transactions + 1;

-- tally: on bank TransferSent
INSERT INTO balances VALUES (:stream, -CAST(replace(json_extract(:payload, '$.amount'), '.', '') AS INTEGER), 1)
ON CONFLICT (account) DO UPDATE SET balance_minor = balance_minor + excluded.balance_minor, transactions = transactions + 1;

-- tally: on bank FeeCharged
INSERT INTO balances VALUES (:stream, -CAST(replace(json_extract(:payload, '$.amount'), '.', '') AS INTEGER), 1)
ON CONFLICT (account) DO UPDATE SET balance_minor = balance_minor + excluded.balance_minor, transactions = transactions + 1;

-- tally: on bank PenaltyInterestCharged
INSERT INTO balances VALUES (:stream, -CAST(replace(json_extract(:payload, '$.amount'), '.', '') AS INTEGER), 1)
ON CONFLICT (account) DO UPDATE SET balance_minor = balance_minor + excluded.balance_minor, transactions = transactions + 1;
