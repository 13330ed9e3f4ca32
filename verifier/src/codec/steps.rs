//! The columns of steps: first the operation of each, from which follows what else it posts.
//!
//! A column holds the values of those steps alone whose operation posts it. The evidence stands last, that of each step
//! as long as its check needs.

use super::{CodecError, Layout, Reader, differences, write_planes};
use crate::{
    cell::CellIndex,
    field,
    operation::{Columns, Operation, OperationSet},
    record::{Evidence, StepRecord, StepRecords},
};
use alloc::{sync::Arc, vec::Vec};

/// Writes the columns of all chunks' steps.
pub(super) fn write(chunks: &[&StepRecords], out: &mut Vec<u8>) {
    let posted: Vec<(Columns, &StepRecord)> = chunks
        .iter()
        .flat_map(|chunk| {
            let columns = |operation| chunk.operations().get(operation).map(|operation| operation.columns);
            let of_the_set = "records are of their set's operations";
            chunk.records().iter().map(move |record| (columns(record.operation).expect(of_the_set), record))
        })
        .collect();
    let that_post = |column| posted.iter().filter(move |(columns, _)| columns.contain(column)).map(|(_, step)| *step);
    out.extend(posted.iter().map(|(_, step)| step.operation));
    out.extend(that_post(Columns::FLAGS).map(|step| step.flags));
    write_planes(&differences(that_post(Columns::CELL).map(|step| step.cell)), |difference| *difference, out);
    write_planes(&that_post(Columns::A).collect::<Vec<_>>(), |step| step.a.to_le_bytes(), out);
    write_planes(&that_post(Columns::B).collect::<Vec<_>>(), |step| step.b.to_le_bytes(), out);
    write_planes(&that_post(Columns::C).collect::<Vec<_>>(), |step| step.c.to_le_bytes(), out);
    that_post(Columns::WORD).for_each(|step| out.extend(field::to_bytes(&step.word)));
    posted.iter().for_each(|(_, step)| step.evidence.write(out));
}

/// Reads what [`write`] writes, to the end of the columns; gives the records of each chunk of steps.
pub(super) fn read(chunks: &[Layout], reader: &mut Reader<'_>) -> Result<Vec<StepRecords>, CodecError> {
    let steps = chunks.iter().filter_map(|layout| match layout {
        Layout::Step(count, operations) => Some((usize::from(*count), operations)),
        _ => None,
    });
    let chunks: Vec<(usize, &Arc<OperationSet>)> = steps.collect();
    let operations = read_operations(&chunks, reader)?;
    let needed: usize = operations.iter().map(|operation| operation.record_length() - 1).sum();
    if reader.bytes.len() != needed {
        // The operations themselves are read already.
        let read = operations.len();
        return Err(CodecError::Length { found: reader.bytes.len() + read, expected: needed + read });
    }
    let mut records: Vec<_> = operations.iter().map(|operation| StepRecord::new(operation.number)).collect();
    let count = |column| operations.iter().filter(|operation| operation.columns.contain(column)).count();
    let flags = reader.rows::<1>(count(Columns::FLAGS)).iter().map(|[flags]| *flags);
    fill(&operations, &mut records, Columns::FLAGS, flags, |record, flags| record.flags = flags);
    let cells: Vec<CellIndex> = reader.indices_by_difference(count(Columns::CELL))?;
    fill(&operations, &mut records, Columns::CELL, cells, |record, cell| record.cell = cell);
    fill(&operations, &mut records, Columns::A, reader.amounts(count(Columns::A)), |record, a| record.a = a);
    fill(&operations, &mut records, Columns::B, reader.amounts(count(Columns::B)), |record, b| record.b = b);
    fill(&operations, &mut records, Columns::C, reader.amounts(count(Columns::C)), |record, c| record.c = c);
    let words = reader.rows::<32>(count(Columns::WORD)).iter().map(field::from_bytes);
    let words = words.collect::<Result<Vec<_>, _>>()?;
    fill(&operations, &mut records, Columns::WORD, words, |record, word| record.word = word);
    for (record, operation) in records.iter_mut().zip(&operations) {
        let bytes = reader.take(operation.check.evidence_length());
        let (evidence, _) = Evidence::read(operation.check, bytes).expect("as many bytes as the check needs");
        record.evidence = evidence;
    }
    let mut records = records.into_iter();
    let of_chunk = |(count, operations): (usize, &Arc<OperationSet>)| {
        let records = records.by_ref().take(count).collect();
        StepRecords::new(operations.clone(), records).expect("read by the columns of their operations")
    };
    Ok(chunks.into_iter().map(of_chunk).collect())
}

/// The operation of each step.
fn read_operations<'a>(
    chunks: &[(usize, &'a Arc<OperationSet>)],
    reader: &mut Reader<'_>,
) -> Result<Vec<&'a Operation>, CodecError> {
    let total = chunks.iter().map(|(count, _)| count).sum();
    let mut numbers = reader.take(total).iter().enumerate();
    let mut operations = Vec::with_capacity(total);
    for (count, set) in chunks {
        for (position, number) in numbers.by_ref().take(*count) {
            let operation = *number;
            operations.push(set.get(operation).ok_or(CodecError::Operation { position, operation })?);
        }
    }
    Ok(operations)
}

/// Puts the values of a column into the records of those operations that post it.
fn fill<T>(
    operations: &[&Operation],
    records: &mut [StepRecord],
    column: Columns,
    values: impl IntoIterator<Item = T>,
    put: impl Fn(&mut StepRecord, T),
) {
    let posting = operations.iter().zip(records).filter(|(operation, _)| operation.columns.contain(column));
    posting.zip(values).for_each(|((_, record), value)| put(record, value));
}
