-- tally: projection p
-- tally: schema
CREATE TABLE t(a text DEFAULT 'it''s :stream', "b :c" bytea); /* nested /* :type */ */
-- tally: on bank *
INSERT INTO t VALUES(:stream || E'\':x' || $q$ :payload $q$, :payload_bytes) ON CONFLICT DO NOTHING; -- :epoch
UPDATE t SET a = :time_ms::text || a WHERE a LIKE e'%' AND a[1 : 2] = :stream;
