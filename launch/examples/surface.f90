!> A Fortran program teaches a network a surface, z = sin(3 x) cos(2 y): each rank brings points
!> of its own, all ranks train together, and each asks what it has learned.
!>
!>   mpifort cohort.f90 surface.f90 -lcohort -o surface && mpirun -n 2 surface
!>
!> (cohort.f90 is installed beside the C headers.)
program surface
  use, intrinsic :: iso_c_binding
  use mpi_f08
  use cohort
  implicit none
  integer, parameter :: samples = 400
  character, parameter :: nul = c_null_char
  integer :: rank
  real(c_double), target :: x(2, samples), z(1, samples)
  real(c_float) :: learned(1, samples)
  real(c_double) :: error
  type(c_ptr) :: design, net
  type(c_ptr), target :: handle
  type(cohort_arrays), target :: points
  type(cohort_net_config) :: config
  type(cohort_net_view) :: view

  call MPI_Init()
  call MPI_Comm_rank(MPI_COMM_WORLD, rank)
  call make_points(x, z, 17 * rank + 1)
  points%x = cohort_array_of(x)
  points%y = cohort_array_of(z)
  points%rows = cohort_rows_gathered

  call check(cohort_design_create(design))
  call check(cohort_design_layer(design, "dense"//nul, "units: 32, activation: tanh"//nul))
  call check(cohort_design_layer(design, "dense"//nul, "units: 32, activation: tanh"//nul))
  call check(cohort_design_layer(design, "dense"//nul, "units: 1"//nul))
  call check(cohort_design_set(design, "loss"//nul, "mse"//nul))
  call check(cohort_design_set(design, "optimizer.lr"//nul, "0.01"//nul))
  call check(cohort_design_set(design, "train.epochs"//nul, "60"//nul))
  call check(cohort_design_set(design, "train.threads"//nul, "1"//nul))
  config%design = design
  config%train = c_loc(points)
  handle = cohort_mpi_handle(MPI_COMM_WORLD%mpi_val)
  call check(cohort_net_create(net, c_loc(handle), config))
  call cohort_design_destroy(design)
  call check(cohort_net_train(view, net))

  call make_points(x, z, 1000 + rank)
  call check(cohort_net_predict(learned, net, cohort_array_of(x)))
  error = sum((learned - z)**2) / samples
  call MPI_Allreduce(MPI_IN_PLACE, error, 1, MPI_DOUBLE_PRECISION, MPI_MAX, MPI_COMM_WORLD)
  if (rank == 0) print '(a,i0,a,f6.4)', "after ", view%step, " steps: rms error ", sqrt(error)
  call cohort_net_destroy(net)
  call MPI_Finalize()

contains

  !> Points that differ by SEED, evenly over [-1, 1] squared.
  subroutine make_points(x, z, seed)
    real(c_double), intent(out) :: x(:, :), z(:, :)
    integer, intent(in) :: seed
    integer :: i
    do i = 1, samples
       x(1, i) = 2 * mod(0.7548776662466927d0 * (i + 1000 * seed), 1d0) - 1
       x(2, i) = 2 * mod(0.5698402909980532d0 * (i + 1000 * seed), 1d0) - 1
    end do
    z(1, :) = sin(3 * x(1, :)) * cos(2 * x(2, :))
  end subroutine make_points

  subroutine check(status)
    integer(c_int), intent(in) :: status
    if (status == cohort_ok) return
    if (rank == 0) print '(2a)', "surface: ", cohort_message()
    call MPI_Abort(MPI_COMM_WORLD, int(cohort_status_exit_code(status)))
  end subroutine check

end program surface
