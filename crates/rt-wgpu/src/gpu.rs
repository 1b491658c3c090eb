//! An open device: its limits, the layout that all kernels share, and the pipelines that were made.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use embdl_core::runtime::RuntimeError;
use wgpu::{
    BindGroup, BindGroupDescriptor, BindGroupEntry, BindGroupLayout, BindGroupLayoutDescriptor,
    BindGroupLayoutEntry, BindingType, Buffer, BufferBinding, BufferBindingType, BufferDescriptor,
    BufferUsages, ComputePipeline, ComputePipelineDescriptor, Device, MapMode,
    PipelineCompilationOptions, PipelineLayout, PipelineLayoutDescriptor, PollType, Queue,
    ShaderModuleDescriptor, ShaderSource, ShaderStages,
};

use crate::detect::Found;
use crate::error::{Loss, guarded};
use crate::kernels::Shader;

/// Bytes of the parameters of a dispatch: more than the largest kernel has.
pub(crate) const PARAMS_BYTES: usize = 128;

/// An open device.
pub(crate) struct Gpu {
    pub(crate) device: Device,
    pub(crate) queue: Queue,
    pub(crate) name: String,
    pub(crate) limits: Limits,
    /// Whether weights of float layers take 16 bits.
    pub(crate) half_weights: bool,
    loss: Loss,
    bind_group_layout: BindGroupLayout,
    pipeline_layout: PipelineLayout,
    /// By the shader's key. Compiling one takes milliseconds to seconds, so sessions share them.
    pipelines: Mutex<HashMap<String, ComputePipeline>>,
}

/// What buffers and dispatches cannot exceed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of a buffer that a kernel sees.
    pub(crate) buffer_bytes: usize,
    /// Workgroups on an axis.
    pub(crate) workgroups: usize,
    /// What parts of a buffer of parameters begin at multiples of.
    pub(crate) alignment: usize,
}

impl Gpu {
    /// Sets up what all sessions share.
    ///
    /// # Errors
    /// If the device fails, or has less than kernels need.
    pub(crate) fn new(found: Found, half_weights: bool) -> Result<Self, RuntimeError> {
        let Found { device, queue, name, .. } = found;
        let loss = Loss::of(&device);
        let limits = device.limits();
        let bytes = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        // Kernels count bytes in 31 bits.
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(i32::MAX as usize) & !63;
        let limits = Limits {
            buffer_bytes: bytes,
            workgroups: limits.max_compute_workgroups_per_dimension as usize,
            alignment: limits.min_uniform_buffer_offset_alignment as usize,
        };
        let (bind_group_layout, pipeline_layout) =
            guarded(&device, &name, "describing kernels", || layouts(&device))?;
        let pipelines = Mutex::default();
        Ok(Self {
            device,
            queue,
            name,
            limits,
            half_weights,
            loss,
            bind_group_layout,
            pipeline_layout,
            pipelines,
        })
    }

    /// Does something on the device.
    ///
    /// # Errors
    /// If the device refuses or fails, or is lost.
    pub(crate) fn guarded<T>(
        &self,
        doing: &'static str,
        action: impl FnOnce() -> T,
    ) -> Result<T, RuntimeError> {
        self.check_alive()?;
        let result = guarded(&self.device, &self.name, doing, action);
        // A lost device answers with errors of its own, of which this is the cause.
        self.check_alive()?;
        result
    }

    /// Whether the device still computes.
    ///
    /// # Errors
    /// If it does not.
    pub(crate) fn check_alive(&self) -> Result<(), RuntimeError> {
        match self.loss.reason() {
            None => Ok(()),
            Some(reason) => Err(RuntimeError::DeviceLost { device: self.name.clone(), reason }),
        }
    }

    /// An error of the device.
    pub(crate) fn failure(&self, doing: &'static str, reason: impl ToString) -> RuntimeError {
        RuntimeError::Device { device: self.name.clone(), doing, reason: reason.to_string() }
    }

    /// The pipeline of a shader, compiled where it is the first time.
    ///
    /// # Errors
    /// If the driver does not take it.
    pub(crate) fn pipeline(&self, shader: &Shader) -> Result<ComputePipeline, RuntimeError> {
        let key = shader.key();
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = pipelines.get(&key) {
            return Ok(pipeline.clone());
        }
        let pipeline = self.guarded("compiling a kernel", || {
            let module = self.device.create_shader_module(ShaderModuleDescriptor {
                label: Some(&key),
                source: ShaderSource::Wgsl(shader.source().into()),
            });
            self.device.create_compute_pipeline(&ComputePipelineDescriptor {
                label: Some(&key),
                layout: Some(&self.pipeline_layout),
                module: &module,
                entry_point: Some("main"),
                compilation_options: PipelineCompilationOptions {
                    // Every kernel writes its workgroup memory before it reads it.
                    zero_initialize_workgroup_memory: false,
                    ..PipelineCompilationOptions::default()
                },
                cache: None,
            })
        })?;
        pipelines.insert(key, pipeline.clone());
        Ok(pipeline)
    }

    /// A buffer that the host fills with `words`.
    ///
    /// # Errors
    /// If the device has no memory left.
    pub(crate) fn filled(
        &self,
        words: &[u32],
        usage: BufferUsages,
    ) -> Result<Buffer, RuntimeError> {
        let size = (words.len() * 4) as u64;
        let buffer = self.guarded("allocating constants", || {
            self.device.create_buffer(&BufferDescriptor {
                label: Some("constants"),
                size,
                usage,
                mapped_at_creation: true,
            })
        })?;
        let mut view = buffer
            .get_mapped_range_mut(..)
            .map_err(|error| self.failure("writing constants", error))?;
        view.copy_from_slice(bytemuck::cast_slice(words));
        drop(view);
        buffer.unmap();
        Ok(buffer)
    }

    /// Waits until everything is done that was submitted.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn wait(&self) -> Result<(), RuntimeError> {
        let waited = self.device.poll(PollType::wait_indefinitely());
        waited.map(|_| ()).map_err(|error| self.failure("waiting", error))
    }

    /// Waits, and shows what a buffer for the host holds.
    ///
    /// # Errors
    /// If the device fails.
    pub(crate) fn read(
        &self,
        buffer: &Buffer,
        mut show: impl FnMut(&[u8]),
    ) -> Result<(), RuntimeError> {
        // Whether it worked shows when the range is asked for.
        buffer.map_async(MapMode::Read, .., |_| ());
        let shown = self.wait().and_then(|()| {
            let view = buffer.get_mapped_range(..);
            show(&view.map_err(|error| self.failure("reading", error))?);
            Ok(())
        });
        buffer.unmap();
        shown
    }

    /// What a dispatch reads and writes.
    pub(crate) fn bind(
        &self,
        arena: &Buffer,
        constants: &Buffer,
        params: BufferBinding<'_>,
    ) -> BindGroup {
        let entry = |binding, resource| BindGroupEntry { binding, resource };
        self.device.create_bind_group(&BindGroupDescriptor {
            label: None,
            layout: &self.bind_group_layout,
            entries: &[
                entry(0, arena.as_entire_binding()),
                entry(1, constants.as_entire_binding()),
                entry(2, wgpu::BindingResource::Buffer(params)),
            ],
        })
    }
}

fn layouts(device: &Device) -> (BindGroupLayout, PipelineLayout) {
    let entry = |binding, ty| BindGroupLayoutEntry {
        binding,
        visibility: ShaderStages::COMPUTE,
        ty: BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    };
    let layout = device.create_bind_group_layout(&BindGroupLayoutDescriptor {
        label: Some("arena, constants, parameters"),
        entries: &[
            entry(0, BufferBindingType::Storage { read_only: false }),
            entry(1, BufferBindingType::Storage { read_only: true }),
            entry(2, BufferBindingType::Uniform),
        ],
    });
    let pipeline_layout = device.create_pipeline_layout(&PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    (layout, pipeline_layout)
}
